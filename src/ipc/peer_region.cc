#include "ipc/peer_region.h"

#include <fcntl.h>
#include <linux/memfd.h>
#include <sys/mman.h>
#include <sys/stat.h>

namespace ferry::ipc {

Result<OwnedFd> make_peer_memfd() {
  OwnedFd fd(static_cast<int>(raw_syscall(SYS_memfd_create, arg("ferry-peers"), MFD_CLOEXEC | MFD_ALLOW_SEALING)));
  if (!fd.valid() || raw_syscall(SYS_ftruncate, fd.get(), static_cast<long>(kPeerRegionBytes)) != 0 ||
      raw_syscall(SYS_fcntl, fd.get(), F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL) != 0)
    return Errc::no_memory;
  return fd;
}

Result<PeerRegionView> map_peer_memfd(int fd, std::byte* where) {
  struct stat status;
  if (raw_syscall(SYS_fstat, fd, arg(&status)) != 0 || static_cast<uint64_t>(status.st_size) != kPeerRegionBytes)
    return Errc::malformed;
  const long seals = raw_syscall(SYS_fcntl, fd, F_GET_SEALS);
  if (seals < 0 || (seals & F_SEAL_SHRINK) == 0) return Errc::malformed;
  const int flags = MAP_SHARED | (where != nullptr ? MAP_FIXED : 0);
  const long r = raw_syscall(SYS_mmap, arg(where), static_cast<long>(kPeerRegionBytes), PROT_READ | PROT_WRITE, flags, fd, 0);
  if (r < 0 && r > -4096) return Errc::no_memory;
  raw_syscall(SYS_madvise, r, static_cast<long>(kPeerRegionBytes), MADV_DONTFORK);
  return PeerRegionView(reinterpret_cast<std::byte*>(r));
}

void unmap_peer_region(PeerRegionView region) {
  if (region.mapped()) raw_syscall(SYS_munmap, arg(region.base()), static_cast<long>(kPeerRegionBytes));
}

}  // namespace ferry::ipc
