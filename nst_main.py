"""The command: paint the content of one picture in the style of another (Gatys, Ecker & Bethge 2015).

    python nst_main.py --content_image_filename chelsea.jpg --style_image_filename night.jpg

Flags become Settings (nst.settings), and Settings become a checked Job (nst.job, or nst.films.job for a film).
nst.run or nst.films.painting paints the Job. These two modules import TensorFlow, which takes seconds to start, so
they are imported only when there is something to paint: a wrong flag is reported at once.
"""

import contextlib
import importlib
import logging
import os
import signal
import socket
import sys
import tempfile
import threading

HEARD = b"nst_main.py: stopping after this iteration; press Ctrl-C again to stop at once\n"
INSTALL = "activate the environment, or pip install -r requirements.txt (README, Install and paint)"


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
except ModuleNotFoundError as missing:
    sys.exit(f"nst_main.py: error: {missing}; {INSTALL}")


@contextlib.contextmanager
def quiet_stderr():
    """Hold back what is written to file descriptor 2, and show it only if the body fails.

    TensorFlow's C++ code logs its start there before any setting of the log level takes effect.
    """
    sys.stderr.flush()
    with contextlib.ExitStack() as files:
        try:
            held = files.enter_context(tempfile.TemporaryFile())
        except OSError as error:
            told = f"a temporary file cannot be made ({reason(error)}); set TMPDIR to another folder"
            raise RunError(told) from error
        kept = os.dup(2)
        os.dup2(held.fileno(), 2)
        try:
            yield
        except Exception:
            held.seek(0)
            os.write(kept, held.read())
            raise
        finally:
            os.dup2(kept, 2)
            os.close(kept)


@contextlib.contextmanager
def environment(**changes):
    """Change variables of the environment while the body runs."""
    before = {name: os.environ.get(name) for name in changes}
    os.environ.update(changes)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value


def start():
    """Start TensorFlow without its messages, and return paint(job, stop). Raises RunError if it does not start."""
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    os.environ["KERAS_BACKEND"] = "tensorflow"
    # Layers depend on each other: running two at a time would take the memory of two and save no time.
    os.environ.setdefault("TF_NUM_INTEROP_THREADS", "1")
    # Otherwise scipy's BLAS keeps a core busy between the steps of L-BFGS, and a run takes 1.2 times as long.
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
    # TensorFlow warns when graphs are traced for many sizes, which a batch does on purpose.
    logging.getLogger("tensorflow").setLevel(logging.ERROR)
    try:
        # A keras.json of the user's can ask for other numbers or axes, or for some that Keras does not start with.
        with quiet_stderr(), environment(KERAS_HOME=os.devnull):
            importlib.import_module("nst.run")
    except ModuleNotFoundError as error:
        raise RunError(f"{error}; {INSTALL}") from error
    except ImportError as error:  # TensorFlow raises it with a long text; the first error is its context
        why = reason(error.__context__ or error)
        raise RunError(f"TensorFlow does not start ({why}); see https://www.tensorflow.org/install/errors") from error
    return lambda job, stop: importlib.import_module(job.painter).paint(job, stop)


class Stop:
    """Handles Ctrl-C and SIGTERM inside a with statement; signum is the signal that came, or None.

    A signal that was ignored before stays ignored: a shell starts what runs in the background (&) like this.

    If patient, the first signal only sets signum, and the run stops after its iteration or at the next check();
    otherwise it raises KeyboardInterrupt. Python runs signal handlers only between TensorFlow's calls, which can
    be long. So a thread sees each signal at once: if patient, it reports the first, and it ends the process at the
    second.
    """

    SIGNALS = (signal.SIGINT, signal.SIGTERM)

    def __enter__(self):
        self.signum, self.patient = None, False
        self.seen, self.wakeup = socket.socketpair()
        self.wakeup.setblocking(False)
        threading.Thread(target=self.watch, daemon=True).start()
        self.fd_before = signal.set_wakeup_fd(self.wakeup.fileno(), warn_on_full_buffer=False)
        heard = [signum for signum in self.SIGNALS if signal.getsignal(signum) != signal.SIG_IGN]
        self.before = {signum: signal.signal(signum, self.note) for signum in heard}
        return self

    def __exit__(self, *_):
        for signum, handler in self.before.items():
            signal.signal(signum, handler)
        signal.set_wakeup_fd(self.fd_before)
        self.wakeup.close()  # which ends the thread

    def note(self, signum, frame):
        self.signum = signum
        if not self.patient:
            raise KeyboardInterrupt

    def check(self):
        """Raise KeyboardInterrupt if a signal came."""
        if self.signum:
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
                    notices.append(f"nst_main.py: nothing to resume in {job.output}: starting from the beginning")
                if notices and not settings.quiet:
                    print(*notices, sep="\n", file=sys.stderr, flush=True)
                start()(job, stop)
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
        for line in told:
            print(f"nst_main.py: {line}", file=sys.stderr, flush=True)
    return status


if __name__ == "__main__":
    for stream in (sys.stdout, sys.stderr):  # print names that the terminal cannot show as escapes
        stream.reconfigure(errors="backslashreplace")
    sys.exit(main())
