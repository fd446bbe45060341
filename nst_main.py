"""The command: paint the content of one picture in the style of another (Gatys, Ecker & Bethge 2015).

    python nst_main.py --content_image_filename chelsea.jpg --style_image_filename night.jpg

Flags become Settings (nst.settings), and Settings become a checked Job (nst.job, or nst.films.job for a film).
nst.run or nst.films.painting paints the Job. These two modules import TensorFlow, which takes seconds to start, so
they are imported only when there is something to paint: a wrong flag is reported at once.
"""

import contextlib
import os
import signal
import socket
import sys
import threading

import nst.stop
from nst.errors import INSTALL

HEARD = b"nst_main.py: stopping after this iteration; press Ctrl-C again to stop at once\n"


def open_streams():
    """Open the standard streams that the command was started without (>&-, pythonw), on the null device.

    Otherwise a file of the run would get a stream's number, and what is written to the stream.
    """
    for number, (name, mode) in enumerate((("stdin", "r"), ("stdout", "w"), ("stderr", "w"))):
        try:
            os.fstat(number)
        except OSError:
            os.open(os.devnull, os.O_RDWR)  # which gets the lowest number that is free: this one
        if getattr(sys, name) is None:
            setattr(sys, name, os.fdopen(number, mode, closefd=False))


if __name__ == "__main__":
    open_streams()

try:
    from nst.errors import InputError, PrintError, RunError, WriteError, reason, with_path
    from nst.films.job import prepare
    from nst.flags import parse_settings
    from nst.start import start
except ModuleNotFoundError as missing:
    sys.exit(f"nst_main.py: error: {missing}; {INSTALL}")


class Stop(nst.stop.Stop):
    """Handles Ctrl-C and SIGTERM as any Stop does, except that the second signal ends the process.

    Python runs signal handlers only between TensorFlow's calls, which can be long. So a thread sees each signal at
    once: if patient, it reports the first, and it ends the process at the second. A shell starts what runs in the
    background (&) with signals that are ignored.
    """

    SIGNALS = (signal.SIGINT, signal.SIGTERM)

    def __enter__(self):
        self.seen, self.wakeup = socket.socketpair()
        self.wakeup.setblocking(False)
        threading.Thread(target=self.watch, daemon=True).start()
        self.fd_before = signal.set_wakeup_fd(self.wakeup.fileno(), warn_on_full_buffer=False)
        return super().__enter__()

    def __exit__(self, *_):
        super().__exit__()
        signal.set_wakeup_fd(self.fd_before)
        self.wakeup.close()  # which ends the thread

    def note(self, signum, frame):
        self.signum = signum
        if not self.patient:
            raise KeyboardInterrupt

    def watch(self):
        count = 0
        with self.seen:
            while signum := self.seen.recv(1):
                count += signum[0] in self.SIGNALS
                if count == 1 and self.patient:
                    has_progress_bar = os.isatty(2)
                    with contextlib.suppress(OSError):  # nobody reads it any more
                        os.write(2, b"\n" * has_progress_bar + HEARD)  # the other thread may hold sys.stderr
                if count == 2:
                    os._exit(128 + signum[0])


class Output:
    """A stream that raises PrintError if it cannot be written, which tells its failures from those of files."""

    def __init__(self, stream):
        self.stream = stream

    def __getattr__(self, name):
        return getattr(self.stream, name)

    def write(self, text):
        return self.attempt(self.stream.write, text)

    def flush(self):
        self.attempt(self.stream.flush)

    def attempt(self, action, *words):
        try:
            return action(*words)
        except OSError as error:
            raise PrintError(*error.args) from error


# --- The command ----------------------------------------------------------------------------------


def tell(*lines):
    """Print lines on standard error."""
    for line in lines:
        print(f"nst_main.py: {line}", file=sys.stderr, flush=True)


def main(argv=None):
    """Run the command line and return the exit status."""
    status, told = 0, []
    out, err = (stream and Output(stream) for stream in (sys.stdout, sys.stderr))
    with Stop() as stop, contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        try:
            settings = parse_settings(argv)
            if settings.is_batch:
                import nst.batches.jobs  # brings what draws the report, which other runs do not need

                return nst.batches.jobs.run(settings, argv, stop, start)
            job = prepare(settings)
            if not job.finished:
                notices = list(job.notices)
                if settings.resume and not job.checkpoint:
                    notices.append(f"nothing to resume in {job.output}: starting from the beginning")
                if not settings.quiet:
                    tell(*notices)
                start(settings.device)(job, stop)
            elif not settings.quiet:
                print(f"Finished already: {job.result}")
        except InputError as error:
            status, told = 2, [f"error: {line}" for line in str(error).splitlines()]
        except (RunError, WriteError) as error:
            status, told = 1, [f"error: {error}"]
        except PrintError as error:
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # or Python complains when it exits
            status, told = 1, [f"error: the output cannot be written ({reason(error)}); --resume continues"]
        except OSError as error:  # one that nobody foresaw
            status, told = 1, [f"error: {with_path(error)}"]
        except KeyboardInterrupt as interrupt:
            why = interrupt.args[0] if interrupt.args else "before the first iteration; nothing was written"
            status, told = 128 + stop.signum, [f"stopped {why}"]
    with contextlib.suppress(OSError):  # nobody reads it any more
        tell(*told)
    return status


if __name__ == "__main__":
    for stream in (sys.stdout, sys.stderr):  # print names that the terminal cannot show as escapes
        stream.reconfigure(errors="backslashreplace")
    sys.exit(main())
