/* SPDX-License-Identifier: MIT */
/* file_write: write(2), until everything is there. Called by whoever keeps a file of ours, on a thread that may wait for a disk.
 */
#include "app/file_write.h"

#include <errno.h>
#include <unistd.h>

int file_write_all(int fd, struct slice text)
{
    while (text.n) {
        ssize_t n = write(fd, text.p, text.n);

        if (n < 0 && errno == EINTR)
            continue;
        if (n <= 0)
            return n < 0 ? -errno : -EIO;
        text = slice_skip(text, (size_t)n);
    }
    return 0;
}
