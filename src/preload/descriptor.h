// Closing and copying descriptor numbers, for every interposed way to do it. Results as the libc functions': -1 and errno.
#pragma once

namespace ferry::preload {

int close_descriptor(int fd);
int close_descriptor_range(unsigned first, unsigned last, int flags);
int duplicate_descriptor(int fd);
// dup2, or with `three` dup3.
int replace_descriptor(int from, int to, int flags, bool three);

}  // namespace ferry::preload
