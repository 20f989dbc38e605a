// Puts datagrams and messages into the output ring (record.h).
#include <cerrno>
#include <cstring>

#include "base/atomics.h"
#include "client/iov_cursor.h"
#include "client/socket.h"

namespace ferry::client {

// 0: in the ring; kWait: no room now; kStarved: no memory, and not by our doing; -EFAULT, or of a pipe: nothing is there. Under tx_lock.
// A pipe that somebody else reads as well may hold less than was said: `header` says how much it was.
template <typename Header>
int Socket::put_record(Home& h, Header& header, IovCursor& data) {
  ipc::abi::SocketShared& s = *h.shared;
  h.output.complete(*h.channel, load_acquire(s.tx_completed));
  size_t payload = data.left();
  auto length = static_cast<uint32_t>(sizeof header + payload);
  if (h.tx.space(s.tx_taken) == 0) return kWait;
  if (h.output.outstanding() > 0 && output_space(h) < length) return kWait;
  // Headers are read as structures: keep every record at a multiple of 8.
  const uint32_t padding = (8 - h.output.fill() % 8) % 8;
  auto run = h.output.reserve(*h.channel, length + padding, length + padding);
  if (!run) return h.output.outstanding() > 0 ? kWait : kStarved;
  const uint32_t skip = static_cast<uint32_t>((8 - run->offset % 8) % 8);
  std::byte* at = h.channel->map().bytes(run->offset, skip + length).data() + skip;
  if (const size_t copied = data.copy_out(at + sizeof header, payload); copied < payload) {
    if (copied == 0 || !data.is_file()) return -EFAULT;
    payload = copied;
    length = static_cast<uint32_t>(sizeof header + payload);
  }
  header.payload_length = static_cast<uint32_t>(payload);
  std::memcpy(at, &header, sizeof header);
  h.output.pad(skip);
  h.output.commit(length);
  h.tx.push(s.tx, s.tx_produced, {run->offset + skip, length, 0, 0});
  store_relaxed(h.copied_out, h.copied_out + payload);
  store_relaxed(s.copied_out, h.copied_out);
  return 0;
}

template int Socket::put_record(Home&, ipc::abi::DatagramHeader&, IovCursor&);
template int Socket::put_record(Home&, ipc::abi::MessageHeader&, IovCursor&);

}  // namespace ferry::client
