// Output: from the ring of the home channel to the stack, by reference; and the way back of its completion.
//
//   ring --take_output: copied once, checked--> backlog_ --feed--> stack --on_completed--> tx_completed
//                                        spans_ remember, in order, whose memory every outstanding byte is in
#include <sys/socket.h>

#include "port/api/log.h"
#include "server/socket.h"

namespace ferry::server {
namespace abi = ipc::abi;
namespace {
constexpr uint32_t kMaxBacklog = abi::kRingEntries;
constexpr uint32_t kMaxDatagram = 65507;  // payload bytes: 65535 - IPv4 header - UDP header
constexpr uint32_t kMaxMessage = 1u << 20;
}  // namespace

void Socket::condemn(Channel& channel, const char* what) {
  if (channel.condemned) return;
  channel.condemned = true;
  ctx_.condemned.push_back(&channel);
  ++ctx_.counters.protocol_violations;
  port::log(port::LogLevel::warning, "client pid %d broke the channel protocol: %s",
            static_cast<int>(channel.identity().pid), what);
}

// Takes what is in the ring, at most kRingEntries; nothing while much waits here already, unless `all` says that the ring is
// left for good. True: there may be more.
bool Socket::take_output(Attachment& a, bool all) {
  abi::SocketShared& s = a.shared();
  auto available = a.tx.available(s.tx_produced);
  if (!available) {
    condemn(*a.channel, "impossible index of an output ring");
    return false;
  }
  uint32_t count = *available;
  if (count == 0) return false;
  if (!all && backlog_.size() >= kMaxBacklog) return true;  // completions, or the next turn, bring us back
  if (Errc opened = come_to_use(); opened != Errc::ok) fail(opened);
  uint32_t taken = 0;
  bool called = false;
  for (; taken < count; ++taken) {
    abi::Descriptor d = a.tx.peek(s.tx, taken);
    if ((d.flags & abi::kCall) != 0) {
      if (!std::exchange(called, true)) a.channel->answer_doorbells();  // what was rung before; the turn has looked earlier than that
      if (take_call(d)) continue;
      condemn(*a.channel, "no such call in an output ring");
      break;
    }
    const buf::IoDesc data = a.channel->locate_output(d);
    if (data.region == 0 || (d.region != 0 && type_ != stack::SocketType::tcp)) {
      condemn(*a.channel, "output descriptor outside the output pool and the client's regions");
      break;
    }
    if (d.length > 0) {
      Span* last = spans_.empty() ? nullptr : &spans_.back();
      if (last != nullptr && last->channel == a.channel && last->slot == a.slot) {
        last->bytes += d.length;
      } else {
        spans_.push_back({a.channel, a.slot, d.length, 0});
      }
      span_bytes_ += d.length;
      a.channel->add_output_reference(d.length);
    }
    if (d.region != 0) ctx_.counters.referenced_out += d.length, referenced_out_ += d.length;
    backlog_.push_back({data, d.flags});
  }
  if (called) publish_words();  // before the client sees that the call was taken
  a.tx.advance(s.tx_taken, taken);
  return taken == abi::kRingEntries;
}

void Socket::feed() {
  while (!backlog_.empty()) {
    if (style_ == stack::Style::datagram) {
      feed_datagram(backlog_.front());
    } else if (!(is_stream() ? feed_stream(backlog_.front()) : feed_message(backlog_.front()))) {
      break;
    }
    if (!backlog_.empty()) backlog_.pop_front();
  }
}

// True: the entry is done with.
bool Socket::feed_stream(Output& o) {
  if (o.data.length > 0) {
    if (output_dead()) {
      drop_output();
      return true;
    }
    if (ctx_.protocols.send_space(id_) == 0) return false;
    stack::Call call;
    call.op = stack::CallOp::send;
    call.socket = id_;
    call.data = o.data;
    // What waits behind it will follow at once: no reason for a small segment in between.
    bool more = (o.flags & abi::kMore) != 0 || backlog_.size() > 1;
    call.flags = (more ? uint32_t{stack::kSendMore} : 0) | ((o.flags & abi::kUrgent) != 0 ? uint32_t{stack::kSendUrgent} : 0);
    in_stack_ += o.data.length;  // before the call: a server that copies, and a peer that is here, complete some of it within
    Errc error = ctx_.protocols.call(call).error;
    if (error != Errc::ok) in_stack_ -= o.data.length;
    if (error == Errc::again) return false;
    if (error != Errc::ok) {
      ready_ |= abi::kWriteClosed;
      ready_ &= ~uint32_t{abi::kWritable};
      state_changed_ = event_ = true;
      drop_output();
      return true;
    }
    ctx_.counters.forwarded_out += o.data.length;
    o.data.length = 0;
  }
  if ((o.flags & abi::kShutdown) != 0 && !output_dead()) {
    stack::Call call;
    call.op = stack::CallOp::shutdown;
    call.socket = id_;
    call.number = 2;
    if (ctx_.protocols.call(call).error == Errc::ok) {
      ready_ |= abi::kWriteClosed;
      ready_ &= ~uint32_t{abi::kWritable};
      state_changed_ = event_ = true;
    }
  }
  return true;
}

// Adds a piece of what comes in several descriptors, at most `bound` bytes. False: it came in one.
bool Socket::gather(const Output& o, uint32_t bound) {
  if ((o.flags & abi::kContinues) == 0 && gather_.empty()) return false;
  ByteSpan piece = ctx_.memory.read(o.data);
  if (gather_.size() + piece.size() <= bound + header_size()) gather_.insert(gather_.end(), piece.begin(), piece.end());
  return true;
}

void Socket::feed_datagram(const Output& o) {
  uint64_t done = o.data.length;
  if (gather(o, kMaxDatagram)) {
    if ((o.flags & abi::kContinues) == 0) {
      if (auto staged = stage(static_cast<uint32_t>(gather_.size()), staged_out_)) {
        copy_bytes(ctx_.memory.write(*staged), gather_);
        ctx_.counters.copied_out_staged += gather_.size();
        send_datagram(*staged);
        unstage(*staged, staged_out_);
      }
      gather_.clear();
    }
  } else if (done > 0) {
    send_datagram(o.data);
  }
  complete(done);
}

// True: the entry is done with. The protocol has copied it, or refused it for good.
bool Socket::feed_message(const Output& o) {
  if (o.data.length > 0 && !output_dead()) {
    Errc error = Errc::ok;
    if ((o.flags & abi::kContinues) != 0) {
      gather(o, kMaxMessage);
    } else if (gather_.empty()) {
      error = send_message(o.data);
    } else if (ctx_.protocols.send_space(id_) == 0) {
      return false;
    } else {
      gather(o, kMaxMessage);
      if (auto staged = stage(static_cast<uint32_t>(gather_.size()), staged_out_)) {
        copy_bytes(ctx_.memory.write(*staged), gather_);
        ctx_.counters.copied_out_staged += gather_.size();
        error = send_message(*staged);
        unstage(*staged, staged_out_);
      }
      gather_.clear();
    }
    if (error == Errc::again) return false;
  }
  complete(o.data.length);
  if ((o.flags & abi::kShutdown) == 0 || output_dead()) return true;
  stack::Call call;
  call.op = stack::CallOp::shutdown;
  call.socket = id_;
  call.number = 2;
  if (ctx_.protocols.call(call).error == Errc::ok) on_shutdown(false, true);
  return true;
}

Errc Socket::send_message(const buf::IoDesc& whole) {
  ByteSpan bytes = ctx_.memory.read(whole);
  abi::MessageHeader header;
  if (bytes.size() < sizeof header) return Errc::invalid;
  __builtin_memcpy(&header, bytes.data(), sizeof header);  // once: the client may go on writing
  stack::MessageInfo info;
  __builtin_memcpy(info.remote.address.octets.data(), header.remote_address, 16);
  info.remote.port = header.remote_port;
  info.control_type = header.control_type;
  info.control_length = header.control_length < sizeof info.control ? header.control_length : uint16_t{sizeof info.control};
  __builtin_memcpy(info.control, header.control, sizeof info.control);
  stack::Call call;
  call.op = stack::CallOp::send_message;
  call.socket = id_;
  call.message = &info;
  call.data = whole.without_prefix(sizeof header);
  const Errc error = ctx_.protocols.call(call).error;
  if (error == Errc::ok) ctx_.counters.forwarded_out += call.data.length;
  if (error == Errc::ok && many_ && local_.port == 0) {  // sending has bound it
    if (auto bound = ctx_.protocols.info(id_)) set_addresses(bound->local, bound->remote);
  }
  if (error == Errc::ok || error == Errc::again) return error;
  if (!many_ && (error == Errc::broken_pipe || error == Errc::not_connected)) {
    ready_ = (ready_ | abi::kWriteClosed) & ~uint32_t{abi::kWritable};
  } else {
    fail(error);
  }
  state_changed_ = event_ = true;
  return error;
}

// `whole`: header and payload. A datagram that makes no sense is dropped: its sender harms nobody else.
void Socket::send_datagram(const buf::IoDesc& whole) {
  ByteSpan bytes = ctx_.memory.read(whole);
  abi::DatagramHeader header;
  if (bytes.size() < sizeof header) return;
  __builtin_memcpy(&header, bytes.data(), sizeof header);  // once: the client may go on writing
  if (header.payload_length != whole.length - sizeof header || header.payload_length > kMaxDatagram) {
    fail(Errc::message_size);
    state_changed_ = event_ = true;
    return;
  }
  stack::Call call;
  call.op = stack::CallOp::send_datagram;
  call.socket = id_;
  call.data = whole.without_prefix(sizeof header);
  __builtin_memcpy(call.info.remote.address.octets.data(), header.remote_address, 16);
  __builtin_memcpy(call.info.local.address.octets.data(), header.local_address, 16);
  call.info.remote.port = header.remote_port;
  call.info.ttl = header.ttl;
  call.info.tos = header.tos;
  call.info.tos_set = (header.flags & abi::kDatagramTosSet) != 0;
  call.remote = call.info.remote;
  Errc error = ctx_.protocols.call(call).error;
  ctx_.counters.forwarded_out += header.payload_length;
  if (error == Errc::ok || error == Errc::again || error == Errc::no_buffers) return;
  fail(error);
  state_changed_ = event_ = true;
}

void Socket::on_completed(uint32_t bytes) {
  uint64_t n = bytes < in_stack_ ? bytes : in_stack_;
  in_stack_ -= n;
  complete(n);
  mark();
}

// The first `bytes` of what is outstanding are no longer referred to.
void Socket::complete(uint64_t bytes) {
  while (bytes > 0 && !spans_.empty()) {
    Span& s = spans_.front();
    uint64_t n = bytes < s.bytes ? bytes : s.bytes;
    if (s.channel == nullptr) {
      unstage({s.staged_offset, static_cast<uint32_t>(n), ctx_.memory.staging_region()}, staged_out_);
      s.staged_offset += n;
    } else {
      s.channel->drop_output_reference(n);
      if (Attachment* a = find(s.channel, s.slot)) {
        a->tx_completed += n;
        store_release(a->shared().tx_completed, a->tx_completed);
      }
    }
    s.bytes -= n;
    span_bytes_ -= n;
    bytes -= n;
    if (s.bytes == 0) spans_.pop_front();
  }
}

// Output that the stack will not take any more. Completions stay in order: it waits for what the stack still has.
void Socket::drop_output() {
  backlog_.clear();
  if (in_stack_ == 0) complete(span_bytes_);
}

// Tells a client that waits for room, once there is enough of it to be worth waking for.
void Socket::offer_space() {
  if (output_dead() && in_stack_ == 0 && span_bytes_ > 0) drop_output();
  Attachment* h = home();
  if (h == nullptr || kernel_mode_) return;
  abi::SocketShared& s = h->shared();
  // What this run stored (tx_taken, tx_completed) before what the client wants: it stores its wish, then looks at those.
  full_fence();
  if ((load_relaxed(s.wants) & abi::kWantWrite) == 0) return;
  bool room = (ready_ & abi::kWritable) != 0 && !is_held_back() && span_bytes_ <= uint64_t{send_buffer_} * 2 / 3 &&
              backlog_.size() < kMaxBacklog / 2;
  if (!room && !output_dead()) return;
  atomic_and(s.wants, ~uint32_t{abi::kWantWrite});
  event_ = true;
}

}  // namespace ferry::server
