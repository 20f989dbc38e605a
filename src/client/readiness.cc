// What poll(2) and the SIOC… ioctls say of a socket: Linux's tcp_poll and datagram_poll, from the words in shared memory.
#include <poll.h>

#include <algorithm>
#include <cerrno>

#include "base/atomics.h"
#include "client/deadline.h"
#include "client/passage.h"
#include "client/ring_lock.h"
#include "client/socket.h"
#include "client/sys.h"
#include "ipc/futex.h"

namespace ferry::client {

namespace abi = ipc::abi;

namespace {

constexpr uint32_t kIn = POLLIN | POLLRDNORM;
constexpr uint32_t kOut = POLLOUT | POLLWRNORM;

// Asks the server, or the other client of a passage, for events of these kinds (WantBit); a full fence, so that a look at the state afterwards misses nothing.
void want(uint32_t& wants, uint32_t bits) {
  if ((load_relaxed(wants) & bits) != bits) atomic_or(wants, bits);
  else full_fence();
}

uint32_t entries_waiting(const abi::SocketShared& s) {
  const uint32_t n = load_acquire(s.rx_produced) - load_relaxed(s.rx_consumed);
  return n > abi::kRingEntries ? 0 : n;
}

// Bytes in the ring and in the passage that the program has not read. Under rx_lock.
uint64_t bytes_waiting(const Home& h, const Passage* passage) {
  const abi::SocketShared& s = *h.shared;
  const auto n = h.rx.available(s.rx_produced);
  uint64_t bytes = 0;
  for (uint32_t i = 0; n && i < *n; ++i) bytes += h.rx.peek(s.rx, i).length;
  bytes = bytes > h.rx_used ? bytes - h.rx_used : 0;
  constexpr uint64_t kPossible = abi::kPassageBytes + abi::kPassageReferences * abi::kHugePageSize;
  const uint64_t passed = passage != nullptr ? passage->unread() : 0;
  return passed <= kPossible ? bytes + passed : bytes;
}

bool urgent_ahead(const Home& h) {
  const abi::SocketShared& s = *h.shared;
  const uint64_t mark = load_relaxed(s.urgent_mark);
  return mark > load_relaxed(h.rx_bytes) && load_relaxed(h.oob_taken_mark) != mark && (load_relaxed(s.urgent_byte) & 0x100) != 0;
}

}  // namespace

// Whether a read would find data (not the end of the stream).
bool Socket::is_readable(Home& h) {
  abi::SocketShared& s = *h.shared;
  Passage* passage = passage_of(h);
  if (entries_waiting(s) == 0 && (passage == nullptr || passage->unread() == 0)) return false;
  const bool plain = receive_low_water_ <= 1 && load_relaxed(s.urgent_mark) <= load_relaxed(h.rx_bytes);
  if (plain || kind_ != abi::kKindTcp) return true;
  RingLock lock;
  if (!lock.acquire(h, Side::rx)) return true;  // being moved: whoever reads will see
  uint64_t least = static_cast<uint64_t>(std::max(receive_low_water_, 1));
  const bool at_urgent = load_relaxed(s.urgent_mark) == load_relaxed(h.rx_bytes) + 1 && (local_options() & kOptOobInline) == 0;
  if (at_urgent) ++least;  // the urgent byte itself is not read as data
  return bytes_waiting(h, passage_of(h)) >= least;
}

// sk_stream_is_writeable: at least a third of the buffer is free; for datagrams half.
bool Socket::is_writable(Home& h) const {
  abi::SocketShared& s = *h.shared;
  const uint32_t used = load_relaxed(s.tx_produced) - load_acquire(s.tx_taken);
  if (const Passage* passage = passage_of(h); passage != nullptr && used == 0) {
    const uint64_t referring = load_relaxed(s.passage_referring);
    return passage->in_ring() <= load_relaxed(s.passage_limit) * 2 / 3 && (referring == 0 || passage->out.can_refer(referring));
  }
  if (used >= abi::kRingEntries) return false;
  const uint64_t outstanding = h.output.committed() - load_acquire(s.tx_completed);
  const uint64_t buffer = load_relaxed(s.send_buffer), limit = std::min(buffer, h.channel->output_limit());
  if (outstanding == 0) return buffer != 0;
  return kind_ == abi::kKindTcp ? outstanding <= limit * 2 / 3 : outstanding <= limit / 2;
}

uint32_t Socket::stream_readiness(Home& h) {
  abi::SocketShared& s = *h.shared;
  const uint32_t ready = h.ready();
  const bool connecting = (ready & abi::kConnecting) != 0;
  const bool connected = (ready & abi::kConnected) != 0;
  const bool hung_up = (ready & abi::kHangUp) != 0;
  const bool read_shut = hung_up || (ready & abi::kReadClosed) != 0;
  const bool write_shut = hung_up || h.write_shut || (ready & abi::kWriteClosed) != 0;
  uint32_t bits = 0;
  if ((read_shut && write_shut) || (!connecting && !connected)) bits |= POLLHUP;
  if (read_shut) bits |= kIn | POLLRDHUP;
  if (!connecting) {
    if (is_readable(h)) bits |= kIn;
    if (write_shut || is_writable(h)) bits |= kOut;
    if (urgent_ahead(h)) bits |= POLLPRI;
  }
  if (load_acquire(s.error) != 0) bits |= POLLERR;
  return bits;
}

uint32_t Socket::datagram_readiness(Home& h) {
  abi::SocketShared& s = *h.shared;
  const uint32_t ready = load_acquire(s.ready);
  uint32_t bits = 0;
  if ((local_options() & kOptRecvErr) != 0) {
    RingLock lock;
    if (lock.acquire(h, Side::rx)) collect_errors(h);
    if (errors_ != nullptr) bits |= POLLERR;
  }
  if (load_acquire(s.error) != 0) bits |= POLLERR;
  if ((ready & abi::kReadClosed) != 0) bits |= kIn | POLLRDHUP;
  if ((ready & abi::kReadClosed) != 0 && (ready & abi::kWriteClosed) != 0) bits |= POLLHUP;
  if (is_readable(h)) bits |= kIn;
  if (is_writable(h)) bits |= kOut | POLLWRBAND;
  return bits;
}

uint32_t Socket::readiness(int k) {
  Home* h = nullptr;
  const int entered = enter(k, h);
  if (entered == kKernelMode) return kernel_readiness(k);
  if (entered == -ENETDOWN) return readiness_without_server();
  if (entered < 0) return POLLERR | POLLHUP | kIn;
  for (bool asked = false;; asked = true) {
    if (kind_ == abi::kKindListener) {
      if (!is_listening()) return kOut | POLLHUP;  // as a socket that has never been connected
      return is_any_acceptable(*h) ? kIn : 0;
    }
    const uint32_t bits = kind_ == abi::kKindTcp || kind_ == abi::kKindMessage ? stream_readiness(*h) : datagram_readiness(*h);
    const uint32_t missing = ((bits & POLLIN) == 0 ? abi::kWantRead : 0u) | ((bits & POLLOUT) == 0 ? abi::kWantWrite : 0u);
    if (missing == 0 || asked) return bits;
    want(h->shared->wants, missing);
    if (Passage* passage = passage_of(*h)) want(passage->mine.wants, missing);
  }
}

int Socket::bytes_available(int k) {
  Home* h = nullptr;
  RingLock lock;
  const int entered = enter(k, Side::rx, h, lock);
  if (entered == kKernelMode) {
    int n = 0;
    const long r = ipc::raw_syscall(SYS_ioctl, k, 0x541b /* FIONREAD */, ipc::arg(&n));
    return r < 0 ? static_cast<int>(r) : n;
  }
  if (entered < 0) return entered;
  if (kind_ == abi::kKindListener) return -EINVAL;
  if (kind_ == abi::kKindTcp) {
    uint64_t n = bytes_waiting(*h, passage_of(*h));
    const uint64_t mark = load_relaxed(h->shared->urgent_mark);  // as tcp_inq: the bytes before the urgent one
    if ((local_options() & kOptOobInline) == 0 && mark > h->rx_bytes && mark - h->rx_bytes <= n && mark - 1 > h->rx_bytes)
      n = mark - 1 - h->rx_bytes;
    return static_cast<int>(std::min<uint64_t>(n, INT32_MAX));
  }
  if (is_message()) return static_cast<int>(message_bytes(*h));
  collect_errors(*h);
  if (entries_waiting(*h->shared) == 0) return 0;
  const uint32_t length = h->rx.peek(h->shared->rx).length;
  return length > sizeof(abi::DatagramHeader) ? static_cast<int>(length - sizeof(abi::DatagramHeader)) : 0;
}

int Socket::bytes_unsent(int k) {
  Home* h = nullptr;
  RingLock lock;
  const int entered = enter(k, Side::tx, h, lock);
  if (entered != 0) return entered == kKernelMode ? 0 : entered;
  if (kind_ == abi::kKindListener) return -EINVAL;
  uint64_t n = h->output.committed() - load_acquire(h->shared->tx_completed);
  if (const Passage* passage = passage_of(*h); passage != nullptr) {
    // The first half of what may be in the ring is the other's receive buffer, and acknowledged; the rest is our send buffer.
    const uint64_t received = load_relaxed(h->shared->passage_limit) / 2, there = passage->outstanding();
    n += there > received ? there - received : 0;
  }
  return static_cast<int>(std::min<uint64_t>(n, INT32_MAX));
}

int Socket::at_mark(int k) {
  Home* h = nullptr;
  RingLock lock;
  const int entered = enter(k, Side::rx, h, lock);
  if (entered != 0) return entered == kKernelMode ? 0 : entered;
  return load_relaxed(h->shared->urgent_mark) == h->rx_bytes + 1 ? 1 : 0;
}

int Socket::wait(int k, uint32_t events, int64_t timeout_ns) {
  Deadline deadline(timeout_ns);
  for (;;) {
    Home* h = nullptr;
    const int entered = enter(k, h);
    if (entered == -ENETDOWN) {
      const uint32_t bits = readiness_without_server() & (events | POLLERR | POLLHUP);
      if (bits != 0 || timeout_ns == 0) return static_cast<int>(bits);
      const int slept = sleep_without_server(deadline);
      return slept == -EAGAIN ? 0 : slept;
    }
    if (entered < 0) return entered;
    if (entered == kKernelMode) {
      pollfd p{k, static_cast<short>(events), 0};
      const timespec timeout = ipc::to_timespec(Duration::ns(timeout_ns < 0 ? 0 : timeout_ns));
      const long r = sys().ppoll(&p, 1, timeout_ns < 0 ? nullptr : &timeout);
      return r < 0 ? static_cast<int>(r) : p.revents;
    }
    const Seen seen = look(*h);
    const uint32_t bits = readiness(k) & (events | POLLERR | POLLHUP);
    if (bits != 0 || timeout_ns == 0) return static_cast<int>(bits);
    const int waited = wait_for_event(*h, seen, deadline);
    if (waited == -EAGAIN) return 0;
    if (waited != 0 && waited != -ENETDOWN) return waited;
  }
}

}  // namespace ferry::client
