// Puts datagrams and messages into the output ring (record.h).
#include <cerrno>
#include <cstring>

#include "base/atomics.h"
#include "client/iov_cursor.h"
#include "client/socket.h"

namespace ferry::client {

// 0: in the ring; kWait: no room now; kStarved: no memory, and not by our doing; -EFAULT. Under tx_lock.
int Socket::put_record(Home& h, ByteSpan header, IovCursor& data) {
  ipc::abi::SocketShared& s = *h.shared;
  h.output.complete(*h.channel, load_acquire(s.tx_completed));
  const size_t payload = data.left();
  const auto length = static_cast<uint32_t>(header.size() + payload);
  if (h.tx.space(s.tx_taken) == 0) return kWait;
  if (h.output.outstanding() > 0 && output_space(h) < length) return kWait;
  // Headers are read as structures: keep every record at a multiple of 8.
  const uint32_t padding = (8 - h.output.fill() % 8) % 8;
  auto run = h.output.reserve(*h.channel, length + padding, length + padding);
  if (!run) return h.output.outstanding() > 0 ? kWait : kStarved;
  const uint32_t skip = static_cast<uint32_t>((8 - run->offset % 8) % 8);
  std::byte* at = h.channel->map().bytes(run->offset, skip + length).data() + skip;
  std::memcpy(at, header.data(), header.size());
  if (data.copy_out(at + header.size(), payload) < payload) return -EFAULT;
  h.output.pad(skip);
  h.output.commit(length);
  h.tx.push(s.tx, s.tx_produced, {run->offset + skip, length, 0, 0});
  store_relaxed(h.copied_out, h.copied_out + payload);
  store_relaxed(s.copied_out, h.copied_out);
  return 0;
}

}  // namespace ferry::client
