"""Ctrl-C while a picture is painted: the run stops after its iteration, so that what it keeps is whole."""

import signal
import threading


class Stop:
    """Handles Ctrl-C inside a with statement; signum is the signal that came, or None.

    If patient, the first signal only sets signum, and the run stops after its iteration or at the next check().
    Otherwise it raises KeyboardInterrupt, and so does the second signal. A signal that was ignored before stays
    ignored. Python handles signals in its main thread: in another one, nothing is handled here.
    """

    SIGNALS = (signal.SIGINT,)
    signum, patient = None, False

    def __enter__(self):
        self.before = {}
        if threading.current_thread() is threading.main_thread():
            # A handler that Python did not set is None, and cannot be put back.
            heard = [signum for signum in self.SIGNALS if signal.getsignal(signum) not in (signal.SIG_IGN, None)]
            self.before = {signum: signal.signal(signum, self.note) for signum in heard}
        return self

    def __exit__(self, *_):
        for signum, handler in self.before.items():
            signal.signal(signum, handler)

    def note(self, signum, frame):
        again, self.signum = self.signum is not None, signum
        if again or not self.patient:
            raise KeyboardInterrupt

    def check(self):
        """Raise KeyboardInterrupt if a signal came."""
        if self.signum:
            raise KeyboardInterrupt
