# SPDX-License-Identifier: MIT
"""Whether the output of strace is read as it is meant."""

import pytest

from harness.strace import count

pytestmark = pytest.mark.harness

OUTPUT = """\
10    epoll_wait(4, [{events=EPOLLIN, data={u32=1, u64=1}}], 256, -1) = 1
10    recvfrom(9, ""..., 16384, 0, NULL, NULL) = 1024
10    recvfrom(9, 0x7f, 16384, 0, NULL, NULL) = -1 EAGAIN (Resource temporarily unavailable)
10    sendto(8, ""..., 1024, MSG_NOSIGNAL, NULL, 0) = 1024
10    write(3, ""..., 8 <unfinished ...>
11    <... poll resumed>)               = 1 ([{fd=3, revents=POLLIN}])
10    <... write resumed>)              = 8
10    write(5, ""..., 8)                = 8
10    splice(6, NULL, 7, NULL, 262144, SPLICE_F_MOVE|SPLICE_F_NONBLOCK) = 65536
10    mprotect(0x7f96cc081000, 4096, PROT_READ|PROT_WRITE) = 0
10    accept4(5, 0x7ffd, [28], SOCK_CLOEXEC|SOCK_NONBLOCK) = -1 EAGAIN (Resource temporarily unavailable)
10    epoll_wait(4, 0x7ffd, 256, -1)    = -1 EINTR (Interrupted system call)
10    --- SIGCONT {si_signo=SIGCONT, si_code=SI_USER, si_pid=1, si_uid=0} ---
11    restart_syscall(<... resuming interrupted poll ...> <unfinished ...>
12    nanosleep({tv_sec=1, tv_nsec=0},  <detached ...>
10    epoll_wait(4,  <detached ...>
"""


def test_calls_are_counted_by_thread():
    calls = count(OUTPUT, {"3"})
    assert dict(calls[10]) == {"epoll_wait": 1, "read": 2, "read EAGAIN": 1, "write": 2, "wake": 1, "splice": 1, "memory": 1,
                               "accept4": 1, "accept4 EAGAIN": 1}
    assert dict(calls[11]) == {"poll": 1}
    assert calls[10].moved["read"] == 1024 and calls[10].moved["splice"] == 65536
    assert 12 not in calls
