"""Writing files: what is replaced, what is refused, faults of every system call, temporary files of killed saves."""

import errno
import os
import signal
import socket
import stat
import subprocess
import sys
import threading

import pytest

from fastnn.saving import atomic
from fastnn.saving.atomic import write_atomically

OLD, NEW = b"old contents", [b"new ", bytearray(b"contents"), memoryview(b"!")]
PATIENCE = 600  # seconds; on a busy machine everything takes long
SYSTEM_CALLS = ["open", "fstat", "write", "chmod", "fsync", "replace"]


@pytest.fixture
def path(tmp_path):
    path = tmp_path / "m.safetensors"
    path.write_bytes(OLD)
    return path


def umask():
    with open("/proc/self/status") as file:
        return next(int(line.split()[1], 8) for line in file if line.startswith("Umask"))


def test_a_regular_file_and_a_new_one_are_written(path):
    for target in (path, path.parent / "new"):
        write_atomically(target, NEW)
        assert target.read_bytes() == b"new contents!"
    assert sorted(os.listdir(path.parent)) == ["m.safetensors", "new"]


@pytest.mark.parametrize("mask", [0o022, 0o077, 0o002])
def test_permissions_follow_the_umask_or_the_old_file(path, mask):
    old = os.umask(mask)
    try:
        write_atomically(path.parent / "new", NEW)
    finally:
        os.umask(old)
    assert stat.S_IMODE((path.parent / "new").stat().st_mode) == 0o666 & ~mask
    path.chmod(0o640)
    write_atomically(path, NEW)
    assert stat.S_IMODE(path.stat().st_mode) == 0o640


def test_the_umask_of_the_process_is_never_changed(path, monkeypatch):
    monkeypatch.setattr(os, "umask", lambda mask: pytest.fail("the umask belongs to all threads"))
    write_atomically(path.parent / "new", NEW)


def test_links_are_followed(path):
    folder = path.parent
    (folder / "other").mkdir()
    for name, target in (("link", path), ("chain", folder / "link"), ("dangling", folder / "other" / "new")):
        (folder / name).symlink_to(target)
        write_atomically(folder / name, NEW)
        assert (folder / name).is_symlink() and target.read_bytes() == b"new contents!"
    os.symlink("loop", folder / "loop")
    with pytest.raises(OSError):
        write_atomically(folder / "loop", NEW)


def test_what_is_not_a_regular_file_is_refused(path):
    folder = path.parent
    os.mkfifo(folder / "fifo")
    (folder / "folder").mkdir()
    (folder / "link").symlink_to("/dev/null")
    listener = socket.socket(socket.AF_UNIX)
    listener.bind(str(folder / "socket"))
    kinds = {
        name: stat.S_IFMT(os.stat(name).st_mode) for name in map(str, [folder / "fifo", folder / "socket", "/dev/null"])
    }
    before = sorted(os.listdir(folder))
    for name in ("fifo", "socket", "link"):
        with pytest.raises(OSError, match="only a regular file can be replaced"):
            write_atomically(folder / name, NEW)
    with pytest.raises(IsADirectoryError):
        write_atomically(folder / "folder", NEW)
    with pytest.raises(OSError):
        write_atomically("/dev/null", NEW)
    assert sorted(os.listdir(folder)) == before
    assert kinds == {name: stat.S_IFMT(os.stat(name).st_mode) for name in kinds}
    listener.close()


def test_a_read_only_file_is_not_replaced(path):
    path.chmod(0o444)
    with pytest.raises(PermissionError, match="read-only"):
        write_atomically(path, NEW)
    assert path.read_bytes() == OLD and os.listdir(path.parent) == [path.name]


@pytest.mark.parametrize("code", [errno.EIO, errno.ENOSPC, errno.EDQUOT])
@pytest.mark.parametrize("call", SYSTEM_CALLS)
def test_a_failing_system_call_leaves_the_old_file(path, monkeypatch, call, code):
    real = getattr(os, call)
    calls = []

    def fail(*arguments):
        calls.append(arguments)
        if call == "write" and len(calls) < 3:
            return real(*arguments)
        raise OSError(code, os.strerror(code))

    if call == "chmod":
        monkeypatch.setattr(os, "supports_fd", {*os.supports_fd, fail})
    with monkeypatch.context() as patch:
        patch.setattr(os, call, fail)
        with pytest.raises(OSError) as caught:
            write_atomically(path, NEW)
    assert caught.value.errno == code and calls
    assert path.read_bytes() == OLD and os.listdir(path.parent) == [path.name]
    write_atomically(path, NEW)
    assert path.read_bytes() == b"new contents!"


def test_no_memory_leaves_neither_a_temporary_file_nor_a_descriptor(path, monkeypatch):
    def fail(*arguments):
        raise MemoryError

    def part():
        yield b"new"
        raise MemoryError

    for call in ("urandom", *SYSTEM_CALLS, "parts"):
        before = sorted(os.listdir("/proc/self/fd"))
        with monkeypatch.context() as patch, pytest.raises(MemoryError):
            if call == "chmod":
                patch.setattr(os, "supports_fd", {*os.supports_fd, fail})
            if call != "parts":
                patch.setattr(os, call, fail)
            write_atomically(path, NEW if call != "parts" else part())
        assert path.read_bytes() == OLD and os.listdir(path.parent) == [path.name], call
        assert sorted(os.listdir("/proc/self/fd")) == before, call


def test_short_writes_are_continued(path, monkeypatch):
    real = os.write
    monkeypatch.setattr(os, "write", lambda descriptor, part: real(descriptor, part[:1]))
    write_atomically(path, NEW)
    assert path.read_bytes() == b"new contents!"


def test_interrupted_writes_are_continued(tmp_path):
    data = os.urandom(1 << 24)
    previous = signal.signal(signal.SIGALRM, lambda *_: None)
    signal.setitimer(signal.ITIMER_REAL, 1e-4, 1e-4)
    try:
        for _ in range(5):
            write_atomically(tmp_path / "m", [data])
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0.0)
        signal.signal(signal.SIGALRM, previous)
    assert (tmp_path / "m").read_bytes() == data


def test_a_full_disk_leaves_the_old_file(path):
    code = (
        "import resource, signal, sys; from fastnn.saving.atomic import write_atomically;"
        "signal.signal(signal.SIGXFSZ, signal.SIG_IGN); resource.setrlimit(resource.RLIMIT_FSIZE, (100, 100));"
        "write_atomically(sys.argv[1], [bytes(1000)])"
    )
    run = subprocess.run([sys.executable, "-c", code, str(path)], capture_output=True, text=True)
    assert "File too large" in run.stderr
    assert path.read_bytes() == OLD and os.listdir(path.parent) == [path.name]


def test_a_folder_that_cannot_be_synchronized_is_no_fault(path, monkeypatch):
    real = os.fsync

    def fsync(descriptor):
        if stat.S_ISDIR(os.fstat(descriptor).st_mode):
            raise OSError(errno.EINVAL, "this file system does not do that")
        real(descriptor)

    monkeypatch.setattr(os, "fsync", fsync)
    write_atomically(path, NEW)
    assert path.read_bytes() == b"new contents!"


def test_temporary_files_of_killed_saves_are_swept(path):
    code = (
        "import os, signal, sys; from fastnn.saving.atomic import write_atomically;"
        "os.replace = lambda *_: os.kill(os.getpid(), signal.SIGKILL);"
        "write_atomically(sys.argv[1], [b'half'])"
    )
    for _ in range(2):
        assert subprocess.run([sys.executable, "-c", code, str(path)]).returncode == -signal.SIGKILL
        # The second one has swept what the first one left.
        assert len(os.listdir(path.parent)) == 2
    for name in (".m.safetensors.notes.tmp", ".other.01234567.tmp", "m.safetensors.01234567.tmp"):
        (path.parent / name).write_bytes(b"of someone else")
    os.mkfifo(path.parent / ".m.safetensors.01234567.tmp")
    before = set(os.listdir(path.parent))
    write_atomically(path, NEW)
    swept = before - set(os.listdir(path.parent))
    assert len(swept) == 1 and path.read_bytes() == b"new contents!"


def test_the_temporary_file_of_a_live_save_stays(path, monkeypatch):
    reached, go_on = threading.Event(), threading.Event()
    real = os.replace

    def replace(*arguments):
        if threading.current_thread() is slow:
            reached.set()
            go_on.wait(PATIENCE)
        real(*arguments)

    monkeypatch.setattr(os, "replace", replace)
    slow = threading.Thread(target=write_atomically, args=(path, [b"slow"]))
    slow.start()
    assert reached.wait(PATIENCE)
    write_atomically(path, [b"fast"])
    assert path.read_bytes() == b"fast" and len(os.listdir(path.parent)) == 2
    go_on.set()
    slow.join(PATIENCE)
    assert path.read_bytes() == b"slow" and os.listdir(path.parent) == [path.name]


def test_a_temporary_file_that_is_swept_before_its_lock_is_made_again(path, monkeypatch):
    real = atomic.fcntl.flock
    swept = []

    def flock(descriptor, operation):
        if not swept:
            swept.append(os.readlink(f"/proc/self/fd/{descriptor}"))
            os.unlink(swept[0])
        real(descriptor, operation)

    monkeypatch.setattr(atomic.fcntl, "flock", flock)
    write_atomically(path, NEW)
    assert swept and path.read_bytes() == b"new contents!" and os.listdir(path.parent) == [path.name]
