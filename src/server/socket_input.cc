// Input: the payload's one copy into memory of the client (or staging memory), delivery into the ring of the home, and the
// client's consumption back to the stack's window.
#include "port/api/log.h"
#include "server/peers.h"
#include "server/socket.h"

namespace ferry::server {
namespace abi = ipc::abi;

Result<buf::IoDesc> Socket::place(ByteSpan payload) {
  if (payload.size() > InputPool::kBlockSize) payload = payload.first(InputPool::kBlockSize);
  auto length = static_cast<uint32_t>(payload.size());
  auto d = allocate_input(length);
  if (d.error() == Errc::no_buffers) {
    ++ctx_.counters.drop_input_pool_full;
    return d.error();
  }
  const bool shared = d.ok();
  if (!shared) d = stage(length, staged_in_);
  if (!d) return d.error();
  copy_bytes(ctx_.memory.write(*d), payload);
  (shared ? ctx_.counters.copied_in_shared : ctx_.counters.copied_in_staged) += length;
  return *d;
}

Result<buf::IoDesc> Socket::allocate_input(uint32_t length) {
  Attachment* h = home();
  if (h == nullptr || kernel_mode_ || gone_) return Errc::not_supported;
  Channel& channel = *h->channel;
  auto d = channel.place(length);
  if (!d && !channel.reclaimed_this_turn) {
    // Much may have been read without a doorbell: look at every socket of this client once.
    channel.reclaimed_this_turn = true;
    ctx_.reclaimed.push_back(&channel);
    channel.for_each_socket([](Socket& s) { s.sync_input(); });
    d = channel.place(length);
  }
  return d;
}

bool Socket::take_input_pieces(Attachment& a) {
  if (a.input.take(a.channel->regions(), a.shared())) return true;
  condemn(*a.channel, "no memory to be lent for input");
  return false;
}

Result<buf::IoDesc> Socket::next_input(uint32_t length) {
  Attachment* h = home();
  if (h == nullptr || kernel_mode_ || gone_) return Errc::not_supported;
  if (offered_by_ != 0) return allocate_input(length);
  if (!take_input_pieces(*h)) return Errc::not_supported;
  // A region that was given up since then has no bytes.
  const buf::IoDesc d = h->input.room(h->shared(), h->rx_released_bytes + rx_bytes_, length);
  if (d.empty() || ctx_.memory.read(d).empty()) return allocate_input(length);
  h->channel->hold_lent(d);
  return d;
}

Result<buf::IoDesc> Socket::stage(uint32_t length, uint64_t& counter) {
  bool room = counter + length <= ctx_.limits.staged_per_socket &&
              (account_ == nullptr || account_->staged + length <= ctx_.limits.staged_per_uid);
  auto d = room ? ctx_.memory.stage(length) : Result<buf::IoDesc>(Errc::no_buffers);
  if (!d) {
    ++ctx_.counters.drop_staging_full;
    return d.error();
  }
  counter += length;
  if (account_ != nullptr) account_->staged += length;
  return *d;
}

void Socket::unstage(const buf::IoDesc& d, uint64_t& counter) {
  ctx_.memory.unstage(d);
  counter -= d.length;
  if (account_ != nullptr) account_->staged -= d.length;
}

void Socket::release_input(const buf::IoDesc& d) {
  if (d.empty()) return;
  if (d.region == ctx_.memory.staging_region()) {
    unstage(d, staged_in_);
  } else if (Channel* c = ctx_.memory.channel_of(d.region)) {
    c->release(d);
  } else if (PeerRegion* peers = ctx_.memory.peers_of(d.region)) {
    ctx_.peers->release(*peers, d);
  }
}

void Socket::deliver(const buf::IoDesc& d) {
  mark();
  if (gone_) {  // nobody will read it; the stack resets when asked to close
    credit_ += d.length;
    return release_input(d);
  }
  rx_bytes_ += d.length;
  if (rx_.size() > in_ring()) {
    buf::IoDesc& last = rx_.back();
    if (last.adjoins(d) && last.length + d.length <= InputPool::kBlockSize) {
      last.length += d.length;
      return;
    }
  }
  rx_.push_back(d);
}

Status Socket::deliver_datagram(const stack::DatagramInfo& info, ByteSpan payload) {
  if (gone_) return Errc::bad_socket;
  auto length = static_cast<uint32_t>(sizeof(abi::DatagramHeader) + payload.size());
  if (rx_bytes_ + length > receive_buffer_) {
    sync_input();
    if (rx_bytes_ + length > receive_buffer_) {
      ++ctx_.counters.drop_receive_buffer_full;
      return Errc::no_buffers;
    }
  }
  Attachment* h = home();
  bool shared = h != nullptr && !kernel_mode_;
  auto d = shared ? h->channel->place(length, alignof(abi::DatagramHeader)) : stage(length, staged_in_);
  if (!d) {
    if (shared) ++ctx_.counters.drop_input_pool_full;
    return d.error();
  }
  abi::DatagramHeader header{};
  __builtin_memcpy(header.remote_address, info.remote.address.octets.data(), 16);
  __builtin_memcpy(header.local_address, info.local.address.octets.data(), 16);
  header.remote_port = info.remote.port;
  header.tos = info.tos;
  header.ttl = info.ttl;
  if (info.link < ctx_.interface_numbers.size()) header.interface_index = ctx_.interface_numbers[info.link];
  header.payload_length = static_cast<uint32_t>(payload.size());
  header.timestamp_ns = static_cast<uint64_t>(ctx_.now.ns() + ctx_.realtime_offset_ns);
  keep_record(*d, std::as_bytes(std::span(&header, 1)), payload, shared);
  return {};
}

// A datagram or message becomes input: header and payload go to `d`, memory that was got for both.
void Socket::keep_record(const buf::IoDesc& d, ByteSpan header, ByteSpan payload, bool shared) {
  MutableByteSpan bytes = ctx_.memory.write(d);
  copy_bytes(bytes, header);
  copy_bytes(bytes.subspan(header.size()), payload);
  (shared ? ctx_.counters.copied_in_shared : ctx_.counters.copied_in_staged) += payload.size();
  rx_bytes_ += d.length;
  rx_.push_back(d);
  mark();
}

// Refused while the receive buffer is full: the protocol keeps it until something was read.
Status Socket::deliver_message(const stack::MessageInfo& info, ByteSpan payload) {
  if (gone_) return Errc::bad_socket;
  static_assert(sizeof(abi::MessageHeader) == sizeof(abi::DatagramHeader) && sizeof info.control == sizeof(abi::MessageHeader::control));
  const auto length = static_cast<uint32_t>(sizeof(abi::MessageHeader) + payload.size());
  if (rx_bytes_ > 0 && rx_bytes_ + length > receive_buffer_) sync_input();
  if (rx_bytes_ > 0 && rx_bytes_ + length > receive_buffer_) return Errc::no_buffers;
  Attachment* h = home();
  const bool shared = h != nullptr && !kernel_mode_;
  auto d = shared ? h->channel->place(length, alignof(abi::MessageHeader)) : stage(length, staged_in_);
  if (!d) return Errc::no_buffers;
  abi::MessageHeader header{};
  __builtin_memcpy(header.remote_address, info.remote.address.octets.data(), 16);
  header.remote_port = info.remote.port;
  header.control_type = info.control_type;
  header.control_length = info.control_length;
  header.payload_length = static_cast<uint32_t>(payload.size());
  header.flags = ((info.flags & stack::MessageInfo::kEnd) != 0 ? uint32_t{abi::kMessageEnd} : 0) |
                 ((info.flags & stack::MessageInfo::kNotification) != 0 ? uint32_t{abi::kMessageNotification} : 0);
  __builtin_memcpy(header.control, info.control, sizeof header.control);
  keep_record(*d, std::as_bytes(std::span(&header, 1)), payload, shared);
  return {};
}

void Socket::deliver_icmp_error(const stack::IcmpError& error) {
  // As Linux: an unconnected datagram socket hears of errors only through its error queue; a connection fails by on_events().
  if (!receive_errors_ && (connects() || !connected())) return;
  fail(error.error);
  state_changed_ = event_ = true;
  mark();
  Attachment* h = home();
  if (!receive_errors_ || h == nullptr || kernel_mode_ || rx_.size() >= abi::kRingEntries) return;
  auto d = h->channel->place(sizeof(abi::DatagramHeader), alignof(abi::DatagramHeader));
  if (!d) return;
  abi::DatagramHeader header{};
  __builtin_memcpy(header.remote_address, error.remote.address.octets.data(), 16);
  __builtin_memcpy(header.local_address, error.from.octets.data(), 16);
  header.remote_port = error.remote.port;
  header.flags = abi::kDatagramError;
  header.reserved = static_cast<uint64_t>(error.error) | uint64_t{error.type} << 32 | uint64_t{error.code} << 40;
  __builtin_memcpy(ctx_.memory.write(*d).data(), &header, sizeof header);
  rx_bytes_ += d->length;
  rx_.push_back(*d);
}

void Socket::sync_input() {
  Attachment* h = home();
  if (h == nullptr || kernel_mode_ || offered_by_ != 0) return;
  abi::SocketShared& s = h->shared();
  uint64_t bytes = load_acquire(s.rx_consumed_bytes);
  uint32_t consumed = load_acquire(s.rx_consumed) - h->rx_released;
  if (consumed > h->in_ring()) return condemn(*h->channel, "impossible index of an input ring");
  for (; consumed > 0; --consumed) {
    buf::IoDesc d = rx_.front();
    rx_.pop_front();
    rx_bytes_ -= d.length;
    h->rx_released_bytes += d.length;
    ++h->rx_released;
    release_input(d);
  }
  // The client counts bytes and entries in two words: the bytes lie between the entries it is done with and all that it has.
  if (bytes < h->rx_released_bytes) bytes = h->rx_released_bytes;
  if (bytes > h->rx_bytes) bytes = h->rx_bytes;
  if (bytes > h->rx_reported) {
    const uint64_t from = h->rx_void > h->rx_reported ? h->rx_void : h->rx_reported;
    if (counts_input() && bytes > from) credit_ += bytes - from;
    h->rx_reported = bytes;
    mark();
  }
  if (!take_input_pieces(*h)) return;
  h->input.finish(s, h->rx_released_bytes + rx_bytes_, h->rx_reported);
}

// Whether input that has not been read is in memory which that client has lent.
bool Socket::has_lent_input(const Attachment& a) {
  for (uint32_t i = 0; i < rx_.size(); ++i)
    if (rx_[i].region != a.channel->region() && ctx_.memory.channel_of(rx_[i].region) == a.channel) return true;
  return false;
}

// Makes sure that the descriptor is in memory which the home's client can read: copies it otherwise.
bool Socket::bring_home(Attachment& a, buf::IoDesc& d) {
  if (a.channel->region_number(d.region) != Channel::kNoRegion) return true;
  auto copy = a.channel->place(d.length, is_stream() ? 1 : alignof(abi::DatagramHeader));
  if (!copy) return false;
  copy_bytes(ctx_.memory.write(*copy), ctx_.memory.read(d));
  ctx_.counters.copied_in_again += d.length;
  release_input(d);
  d = *copy;
  return true;
}

void Socket::push_input(Attachment& a) {
  abi::SocketShared& s = a.shared();
  uint32_t before = a.rx_produced;
  while (a.in_ring() < abi::kRingEntries && rx_.size() > a.in_ring()) {
    buf::IoDesc& d = rx_[a.in_ring()];
    if (!bring_home(a, d)) {
      if (!ListNode<StarvedTag>::linked()) ctx_.starved.push_back(*this);
      break;
    }
    s.rx[a.rx_produced % abi::kRingEntries] = {d.offset, d.length, a.channel->region_number(d.region), 0};
    ++a.rx_produced;
    a.rx_bytes += d.length;
  }
  // When to be told of reading: at once if something waits for room in the ring, else when the window is worth announcing.
  uint64_t step = rx_.size() > a.in_ring() ? 1 : receive_buffer_ / 4 + 1;
  store_relaxed(s.rx_report_at, a.rx_reported + step);
  if (a.rx_produced == before) return;
  store_release(s.rx_produced, a.rx_produced);
  event_ = true;
  if ((ready_ & abi::kReadable) == 0) {
    ready_ |= abi::kReadable;
    store_release(s.ready, visible_ready(a));
  }
  if ((load_relaxed(s.wants) & abi::kWantRead) != 0) atomic_and(s.wants, ~uint32_t{abi::kWantRead});
}

void Socket::report_consumed() {
  if (credit_ == 0) return;
  uint64_t credit = credit_;
  credit_ = 0;
  if (id_ == 0 || id_dead_ || !accepted_ || !counts_input()) return;
  stack::Call call;
  call.op = stack::CallOp::consumed;
  call.socket = id_;
  call.number = static_cast<int64_t>(credit);
  ctx_.protocols.call(call);
}

void Socket::drop_input() {
  while (!rx_.empty()) {
    buf::IoDesc d = rx_.front();
    rx_.pop_front();
    if (Attachment* h = home(); h != nullptr && !kernel_mode_ && h->in_ring() > 0) ++h->rx_released;
    release_input(d);
  }
  rx_bytes_ = 0;
}

// The peer that has sent it is one no more. What is in the ring a thread of the client may just be reading: libferry takes it out once it knows,
// and whoever does it, the next connection does not hear of it.
void Socket::forget_input() {
  sync_input();
  credit_ = 0;
  while (rx_.size() > in_ring()) {
    const buf::IoDesc d = rx_.back();
    rx_.pop_back();
    rx_bytes_ -= d.length;
    release_input(d);
  }
  if (Attachment* h = home()) h->rx_void = h->rx_bytes;
}

}  // namespace ferry::server
