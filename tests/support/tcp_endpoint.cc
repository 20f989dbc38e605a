#include "support/tcp_endpoint.h"

namespace ferry::tcp::testing {

InputSegment Wire::input() const {
  InputSegment s;
  s.seq = seq;
  s.ack = ack;
  s.flags = flags;
  s.window = window;
  s.urgent_pointer = urgent_pointer;
  s.options = options;
  s.payload = ByteSpan(reinterpret_cast<const std::byte*>(payload.data()), payload.size());
  s.gso_size = gso_size;
  return s;
}

std::vector<Wire> segmented(const Wire& big) {
  std::vector<Wire> out;
  if (big.mss == 0 || big.payload.size() <= big.mss) return {big};
  for (size_t at = 0; at < big.payload.size(); at += big.mss) {
    Wire w = big;
    w.seq = big.seq + static_cast<uint32_t>(at);
    w.payload = big.payload.substr(at, big.mss);
    if (at + big.mss < big.payload.size()) w.flags = static_cast<uint8_t>(w.flags & ~(kFin | kPsh));
    if (big.has(kUrg)) {
      if (big.urgent_pointer > at) w.urgent_pointer = static_cast<uint16_t>(big.urgent_pointer - at);
      else w.flags = static_cast<uint8_t>(w.flags & ~kUrg);
    }
    out.push_back(std::move(w));
  }
  return out;
}

bool merge(Wire& into, const Wire& next, size_t limit) {
  if (into.payload.empty() || next.payload.empty() || into.flags != kAck || (next.flags & ~kPsh) != kAck) return false;
  if (into.seq + static_cast<uint32_t>(into.payload.size()) != next.seq || into.ack != next.ack) return false;
  if (into.payload.size() + next.payload.size() > limit || next.payload.size() > into.mss) return false;
  if (into.payload.size() % into.mss != 0) return false;
  into.payload += next.payload;
  into.flags = next.flags;
  into.window = next.window;
  into.options = next.options;
  into.gso_size = into.mss;
  return true;
}

void TcpEndpoint::reset(const Setup& setup) {
  setup_ = setup;
  connection_ = std::make_unique<Connection>(*this, setup);
}

void TcpEndpoint::drop() { connection_.reset(); }

std::vector<std::byte> TcpEndpoint::save() {
  std::vector<std::byte> record(connection_->record_size());
  Result<uint32_t> n = connection_->save(record);
  if (!n) return {};
  record.resize(*n);
  return record;
}

Status TcpEndpoint::revive(Instant now, const std::vector<std::byte>& record) {
  connection_ = std::make_unique<Connection>(*this, setup_);
  Status s = connection_->restore(now, record);
  if (s) connection_->resume(now);
  return s;
}

Status TcpEndpoint::send(Instant now, const std::string& bytes, Connection::SendFlags flags) {
  buf::IoDesc d{output_.size(), static_cast<uint32_t>(bytes.size()), kOutput};
  output_ += bytes;
  Status s = connection_->send(now, d, flags);
  if (s) queued += bytes.size();
  else output_.resize(d.offset);
  return s;
}

void TcpEndpoint::emit(Connection&, const OutputSegment& s) {
  Wire w;
  w.seq = s.seq;
  w.ack = s.ack;
  w.flags = s.flags;
  w.window = s.window;
  w.urgent_pointer = s.urgent_pointer;
  w.options = s.options;
  w.mss = s.mss;
  for (uint16_t i = 0; i < s.part_count; ++i) {
    const buf::IoDesc& d = s.parts[i];
    if (d.region != kOutput || d.offset + d.length > output_.size() || d.offset < completed) {
      contract_error = "sent bytes that are not the owner's to send";
      return;
    }
    w.payload += output_.substr(d.offset, d.length);
  }
  if (w.payload.size() != s.payload_length) contract_error = "payload_length is not the sum of the parts";
  sent.push_back(std::move(w));
}

Result<buf::IoDesc> TcpEndpoint::place(Connection&, ByteSpan payload) {
  if (payload.empty()) contract_error = "placed nothing";
  if (payload.size() > place_piece) payload = payload.first(place_piece);
  if (held + payload.size() > place_limit) return Errc::no_buffers;
  buf::IoDesc d{next_placement_, static_cast<uint32_t>(payload.size()), kInput};
  next_placement_ += payload.size();
  placed_[d.offset] = std::string(reinterpret_cast<const char*>(payload.data()), payload.size());
  held += payload.size();
  return d;
}

bool TcpEndpoint::take_placed(const buf::IoDesc& d, std::string& bytes) {
  auto it = placed_.find(d.offset);
  if (d.region != kInput || it == placed_.end() || it->second.size() != d.length) {
    contract_error = "a descriptor came back that was not placed like that";
    return false;
  }
  bytes = std::move(it->second);
  placed_.erase(it);
  held -= d.length;
  return true;
}

void TcpEndpoint::discard(Connection&, const buf::IoDesc& d) {
  std::string bytes;
  if (take_placed(d, bytes)) discarded += bytes.size();
}

void TcpEndpoint::deliver(Connection&, const buf::IoDesc& d) {
  std::string bytes;
  if (take_placed(d, bytes)) received += bytes;
}

void TcpEndpoint::on_completed(Connection&, uint32_t bytes) {
  completed += bytes;
  if (completed > output_.size() || bytes == 0) contract_error = "completed what was not sent";
}

void TcpEndpoint::on_events(Connection&, uint32_t e) {
  events |= e;
  all_events |= e;
}

void TcpEndpoint::on_deadline_changed(Connection&) { ++deadline_changes; }

}  // namespace ferry::tcp::testing
