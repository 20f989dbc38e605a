// Owns SocketFile objects and their free list (socket_file.h).
#include "preload/socket_file.h"

#include <errno.h>
#include <string.h>

#include <algorithm>
#include <new>

#include "ipc/syscall.h"
#include "preload/private_fds.h"
#include "preload/real.h"

namespace ferry::preload {

namespace {
constinit client::Mutex g_free_mutex;
SocketFile* g_free = nullptr;
}  // namespace

long to_libc(long result) {
  if (result >= 0) return result;
  errno = static_cast<int>(-result);
  return -1;
}

FileRef<SocketFile> SocketFile::create(int family, int type) {
  SocketFile* file = nullptr;
  {
    client::Guard guard(g_free_mutex);
    file = g_free;
    if (file != nullptr) g_free = file->next_free_;
  }
  if (file == nullptr) file = new (std::nothrow) SocketFile;
  if (file == nullptr) return {};
  file->family = family;
  file->type = type;
  file->nonblocking = false;
  file->v6_only = false;
  file->keep_alive = false;
  file->twin = -1;
  file->reserved_twin = -1;
  file->bound_any = true;
  file->bound = false;
  file->native = false;
  file->used = false;
  file->copied = false;
  file->identity_ = {};
  file->revive();
  return FileRef<SocketFile>(file);
}

void SocketFile::retire() {
  socket.close();
  if (int t = twin.exchange(-1); t >= 0) private_fds().close(t);
  release_reserved_twin();
  options_.clear();
  client::Guard guard(g_free_mutex);
  next_free_ = g_free;
  g_free = this;
}

void SocketFile::release_reserved_twin() {
  if (int t = reserved_twin.exchange(-1); t >= 0) private_fds().close(t);
}

void SocketFile::remember_identity(int k) {
  identity_ = socket.identity().known() ? socket.identity() : client::Identity::of(k);
}

bool SocketFile::is_named_by(int fd) const {
  const client::Identity there = client::Identity::of(fd);
  return there.known() && there == identity_;
}

void SocketFile::record_option(int level, int name, const void* value, socklen_t length) {
  if (length > sizeof(RecordedOption::value)) return;
  client::Guard guard(mutex_);
  auto same = std::find_if(options_.begin(), options_.end(),
                           [&](const RecordedOption& o) { return o.level == level && o.name == name; });
  if (same == options_.end()) {
    if (options_.size() == kMaxRecordedOptions) return;
    same = options_.insert(options_.end(), RecordedOption{level, name});
  }
  same->length = length;
  memcpy(same->value, value, length);
}

std::vector<RecordedOption> SocketFile::recorded_options() {
  client::Guard guard(mutex_);
  return options_;
}

}  // namespace ferry::preload
