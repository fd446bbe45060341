"""The command: paints the content of one picture in the style of another (Gatys, Ecker & Bethge 2015).

    python nst_main.py --content_image_filename chelsea.jpg --style_image_filename night.jpg

Flags become Settings (nst.settings), Settings a Job (nst.job), and nst.run paints it. That module is
imported when there is work to do: TensorFlow takes seconds to start, and a wrong flag should not wait for it.
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

HEARD = b"nst_main.py: stopping after this iteration; again to stop at once\n"
INSTALL = "activate the environment, or pip install -r requirements.txt (README, Two commands)"

try:
    import nst.batch
    import nst.files
    from nst.files import InputError, RunError
    from nst.flags import parse_settings
    from nst.job import prepare
except ModuleNotFoundError as missing:
    sys.exit(f"nst_main.py: error: {missing}; {INSTALL}")


@contextlib.contextmanager
def quiet_stderr():
    """Hold back what is written to file descriptor 2, and show it only if the body fails.

    TensorFlow's C++ side logs its start-up there before any setting of its log level can reach it.
    """
    sys.stderr.flush()
    kept = os.dup(2)
    with tempfile.TemporaryFile() as held:
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


def import_run():
    """nst.run, with TensorFlow behind it, and without TensorFlow's start-up chatter. Raises RunError without it."""
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    os.environ["KERAS_BACKEND"] = "tensorflow"
    # The layers wait for each other; two at a time would take the memory of two, and no less time.
    os.environ.setdefault("TF_NUM_INTEROP_THREADS", "1")
    # Between two steps of L-BFGS scipy's BLAS would keep a core busy waiting that TensorFlow needs: 1.2 of the time.
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
    # It warns of graphs that are traced for size after size, which is what a batch asks for.
    logging.getLogger("tensorflow").setLevel(logging.ERROR)
    try:
        with quiet_stderr():
            return importlib.import_module("nst.run")
    except ModuleNotFoundError as error:
        raise RunError(f"{error}; {INSTALL}") from error
    except ImportError as error:  # TensorFlow tells the whole story again: what it began with is behind it
        why = nst.files.reason(error.__context__ or error)
        raise RunError(f"TensorFlow does not start ({why}); see https://www.tensorflow.org/install/errors") from error


class Stop:
    """Ctrl-C and SIGTERM, within a with statement: signum is the one that came.

    While a run is patient the first waits for its iteration to end, or for a check() within it, before that
    it raises KeyboardInterrupt. Python runs its handlers between TensorFlow's calls only, and these can be
    long: a thread sees each signal at once, says of the first that it was heard, and ends the process with
    the second.
    """

    SIGNALS = (signal.SIGINT, signal.SIGTERM)

    def __enter__(self):
        self.signum, self.patient = None, False
        self.seen, self.wakeup = socket.socketpair()
        self.wakeup.setblocking(False)
        threading.Thread(target=self.watch, daemon=True).start()
        self.fd_before = signal.set_wakeup_fd(self.wakeup.fileno(), warn_on_full_buffer=False)
        self.before = [signal.signal(signum, self.note) for signum in self.SIGNALS]
        return self

    def __exit__(self, *_):
        for signum, handler in zip(self.SIGNALS, self.before, strict=True):
            signal.signal(signum, handler)
        signal.set_wakeup_fd(self.fd_before)
        self.wakeup.close()  # which ends the thread

    def note(self, signum, frame):
        self.signum = signum
        if not self.patient:
            raise KeyboardInterrupt

    def check(self):
        """Raises KeyboardInterrupt if a signal came."""
        if self.signum:
            raise KeyboardInterrupt

    def watch(self):
        count = 0
        with self.seen:
            while signum := self.seen.recv(1):
                count += signum[0] in self.SIGNALS
                if count == 1 and self.patient:
                    bar_there = os.isatty(2)
                    os.write(2, b"\n" * bar_there + HEARD)  # the other thread may hold sys.stderr
                if count == 2:
                    os._exit(128 + signum[0])


# --- The command ----------------------------------------------------------------------------------


def main(argv=None):
    """Run the command line; returns the exit status."""
    status, told = 0, []
    with Stop() as stop:
        try:
            settings = parse_settings(argv)
            if settings.is_batch:
                return nst.batch.run(settings, argv, stop, import_run)
            job = prepare(settings)
            if not job.finished:
                notices = list(job.notices)
                if settings.resume and not job.checkpoint:
                    notices.append(f"nst_main.py: nothing to resume in {job.output}: starting anew")
                if notices and not settings.quiet:
                    print(*notices, sep="\n", file=sys.stderr, flush=True)
                import_run().paint(job, stop)
            elif not settings.quiet:
                print(f"Finished already: {job.result}")
        except InputError as error:
            status, told = 2, [f"error: {line}" for line in str(error).splitlines()]
        except (RunError, nst.files.WriteError) as error:
            status, told = 1, [f"error: {error}"]
        except OSError as error:  # of files all has been said above: this is the standard output
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # or Python complains at its end
            status, told = 1, [f"error: the output cannot be written ({nst.files.reason(error)}); --resume goes on"]
        except KeyboardInterrupt as interrupt:
            why = interrupt.args[0] if interrupt.args else "before the first iteration; nothing was written"
            status, told = 128 + stop.signum, [f"stopped {why}"]
    for line in told:
        print(f"nst_main.py: {line}", file=sys.stderr)
    return status


if __name__ == "__main__":
    for stream in (sys.stdout, sys.stderr):  # a name that the terminal cannot show is no reason to fail
        stream.reconfigure(errors="backslashreplace")
    sys.exit(main())
