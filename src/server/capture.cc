#include "server/capture.h"

#include <fcntl.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>

#include "server/engine.h"
#include "server/peers.h"

namespace ferry::server {
namespace {

constexpr uint32_t kSnapLength = 262144;

}  // namespace

CaptureStream::CaptureStream(Context& context, UniqueFd write_end, const std::string& interface_name)
    : ctx_(context), fd_(std::move(write_end)) {
  link::pcapng::append_header(buffer_, "ferryd", interface_name, kSnapLength);
  if (!ctx_.poller.add(fd_.get(), *this, EPOLLOUT | EPOLLET)) closed_ = true;
}

CaptureStream::~CaptureStream() { ctx_.poller.remove(fd_.get(), *this); }

void CaptureStream::record(link::Direction direction, std::span<const ByteSpan> pieces) {
  size_t total = 0;
  for (ByteSpan p : pieces) total += p.size();
  if (closed_ || buffer_.size() - written_ + std::min<size_t>(total, kSnapLength) > kBufferBytes) {
    ++ctx_.counters.capture_dropped;
    return;
  }
  ++ctx_.counters.capture_packets;
  link::pcapng::append_packet(buffer_, ctx_.now + Duration::ns(ctx_.realtime_offset_ns), direction, pieces, kSnapLength);
}

void CaptureStream::flush() {
  while (!closed_ && !stalled_ && written_ < buffer_.size()) {
    ssize_t n = write(fd_.get(), buffer_.data() + written_, buffer_.size() - written_);
    if (n > 0) {
      written_ += static_cast<size_t>(n);
    } else if (n < 0 && errno == EAGAIN) {
      stalled_ = true;
    } else {
      closed_ = true;  // EPIPE: the reader has what it wanted
    }
  }
  if (written_ == buffer_.size() || written_ > kBufferBytes / 2) {
    buffer_.erase(buffer_.begin(), buffer_.begin() + static_cast<std::ptrdiff_t>(written_));
    written_ = 0;
  }
}

void CaptureStream::on_poll(uint32_t events) {
  if ((events & EPOLLERR) != 0) closed_ = true;
  stalled_ = false;
}

UniqueFd Captures::start(const std::string& interface_name) {
  int ends[2];
  if (streams_.size() == kMaxCaptures || pipe2(ends, O_CLOEXEC | O_NONBLOCK) != 0) return UniqueFd();
  UniqueFd read_end(ends[0]), write_end(ends[1]);
  fcntl(write_end.get(), F_SETPIPE_SZ, 1 << 20);
  streams_.push_back(std::make_unique<CaptureStream>(ctx_, std::move(write_end), interface_name));
  host_.set_tap(this);
  return read_end;
}

void Captures::on_received(stack::LinkIndex, const buf::Frame& frame) {
  const std::array<ByteSpan, 2> pieces = {frame.bytes, frame.detached};
  if (shows_) return show(link::Direction::inbound, pieces);
  record(link::Direction::inbound, pieces);
}

void Captures::on_sent(stack::LinkIndex, const buf::Packet& packet, const buf::Memory& memory) {
  std::array<ByteSpan, buf::Packet::kMaxPayloadParts + 2> pieces;
  size_t n = 0;
  pieces[n++] = packet.header_bytes();
  for (uint16_t i = 0; i < packet.part_count; ++i) pieces[n++] = memory.read(packet.parts[i]);
  if (!packet.tail.empty()) pieces[n++] = packet.tail;
  if (shows_) return show(link::Direction::outbound, std::span(pieces).first(n));
  record(link::Direction::outbound, std::span(pieces).first(n));
}

void Captures::record(link::Direction direction, std::span<const ByteSpan> pieces) {
  for (auto& s : streams_) s->record(direction, pieces);
}

void Captures::show_to_first(bool on) {
  shows_ = on;
  ctx_.peers->suspend(on);  // what goes past us could not be shown
  host_.set_tap(on ? this : nullptr);
}

void Captures::show(link::Direction direction, std::span<const ByteSpan> pieces) {
  std::vector<std::byte> copy;
  for (ByteSpan piece : pieces) copy.insert(copy.end(), piece.begin(), piece.end());
  if (!ctx_.engines->show_frame(direction, std::move(copy))) ++ctx_.counters.capture_dropped;
}

void Captures::flush() {
  for (auto& s : streams_) s->flush();
  std::erase_if(streams_, [](const auto& s) { return s->closed(); });
  if (!streams_.empty() || shows_) return;
  host_.set_tap(nullptr);
  if (ctx_.engines != nullptr) ctx_.engines->post_to_others(ctx_.engine, [](Engine& other) { other.captures().show_to_first(false); });
}

}  // namespace ferry::server
