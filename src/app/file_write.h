/* SPDX-License-Identifier: MIT */
/* file_write: all of a text into a descriptor that waits. Thread: any. */
#ifndef APP_FILE_WRITE_H
#define APP_FILE_WRITE_H

#include "base/slice.h"

/* 0 or -errno; -EIO when the kernel takes nothing. What was written before a failure stays. */
int file_write_all(int fd, struct slice text) MUST_USE;

#endif
