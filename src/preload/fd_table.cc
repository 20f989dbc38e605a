// Owns the descriptor table (fd_table.h).
#include "preload/fd_table.h"

#include <sys/mman.h>

#include "preload/log.h"
#include "ipc/syscall.h"

namespace ferry::preload {

namespace {
constinit FdTable g_table;
}

FdTable& fd_table() { return g_table; }

FileRef<> FdTable::get_slow(std::atomic<OpenFile*>* slot, OpenFile* file) {
  for (;;) {
    if (file->try_acquire()) {
      // The object may have been retired and come alive as another file between the two loads.
      if (slot->load(std::memory_order_acquire) == file) return FileRef<>(file);
      file->release();
    }
    file = slot->load(std::memory_order_acquire);
    if (file == nullptr) return {};
  }
}

std::atomic<OpenFile*>* FdTable::make_chunk(int fd) {
  constexpr size_t kBytes = sizeof(std::atomic<OpenFile*>) * kChunk;
  long address = ipc::raw_syscall(SYS_mmap, 0, kBytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (address < 0 && address > -4096) return nullptr;
  auto* fresh = reinterpret_cast<std::atomic<OpenFile*>*>(address);  // zero pages are null pointers
  std::atomic<OpenFile*>* expected = nullptr;
  if (chunks_[fd >> kChunkBits].compare_exchange_strong(expected, fresh)) return fresh;
  ipc::raw_syscall(SYS_munmap, address, kBytes);
  return expected;
}

bool FdTable::install(int fd, OpenFile* file) {
  if (static_cast<unsigned>(fd) >= kMaxFds) return false;
  std::atomic<OpenFile*>* slot = find(fd);
  if (slot == nullptr) {
    std::atomic<OpenFile*>* chunk = make_chunk(fd);
    if (chunk == nullptr) return false;
    slot = &chunk[fd & (kChunk - 1)];
  }
  file->acquire();
  file->add_name();
  OpenFile* old = slot->exchange(file, std::memory_order_acq_rel);
  if (old != nullptr) {
    old->drop_name();
    old->release();
  }
  return true;
}

FileRef<> FdTable::remove(int fd) {
  std::atomic<OpenFile*>* slot = find(fd);
  if (slot == nullptr || slot->load(std::memory_order_relaxed) == nullptr) return {};
  OpenFile* old = slot->exchange(nullptr, std::memory_order_acq_rel);
  if (old == nullptr) return {};
  old->drop_name();
  return FileRef<>(old);
}

void FdTable::remove_stale(int fd) {
  FERRY_LOG_DEBUG("descriptor %d was closed unseen; it no longer names a Ferry socket", fd);
  remove(fd);
}

}  // namespace ferry::preload
