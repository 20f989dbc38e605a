#include "server/capture.h"

#include <fcntl.h>
#include <unistd.h>

#include <array>
#include <cerrno>

namespace ferry::server {
namespace {

// Block and option codes of pcapng.
constexpr uint32_t kSectionHeader = 0x0a0d0d0a, kByteOrderMagic = 0x1a2b3c4d, kInterface = 1, kEnhancedPacket = 6;
constexpr uint16_t kOptEnd = 0, kIfName = 2, kIfTsResol = 9, kEpbFlags = 2, kEthernet = 1;
constexpr uint32_t kSnapLength = 262144;

uint32_t padded(uint32_t n) { return (n + 3) & ~uint32_t{3}; }

}  // namespace

CaptureStream::CaptureStream(Context& context, UniqueFd write_end, const std::string& interface_name)
    : ctx_(context), fd_(std::move(write_end)) {
  put32(kSectionHeader), put32(28), put32(kByteOrderMagic), put16(1), put16(0);
  put32(0xffffffff), put32(0xffffffff), put32(28);  // section length: unknown
  auto name = static_cast<uint32_t>(interface_name.size());
  uint32_t length = 20 + 4 + padded(name) + 8 + 4;
  put32(kInterface), put32(length), put16(kEthernet), put16(0), put32(kSnapLength);
  put16(kIfName), put16(static_cast<uint16_t>(name)), put(interface_name.data(), name), pad(name);
  put16(kIfTsResol), put16(1), put32(9);  // 10^-9 seconds
  put16(kOptEnd), put16(0), put32(length);
  if (!ctx_.poller.add(fd_.get(), *this, EPOLLOUT | EPOLLET)) closed_ = true;
}

CaptureStream::~CaptureStream() { ctx_.poller.remove(fd_.get(), *this); }

void CaptureStream::put(const void* bytes, size_t n) {
  auto* p = static_cast<const std::byte*>(bytes);
  buffer_.insert(buffer_.end(), p, p + n);
}

void CaptureStream::pad(size_t n) {
  static constexpr std::byte kZero[3] = {};
  put(kZero, padded(static_cast<uint32_t>(n)) - n);
}

void CaptureStream::record(bool inbound, std::span<const ByteSpan> pieces) {
  size_t total = 0;
  for (ByteSpan p : pieces) total += p.size();
  auto captured = static_cast<uint32_t>(total < kSnapLength ? total : kSnapLength);
  if (closed_ || buffer_.size() - written_ + captured > kBufferBytes) {
    ++ctx_.counters.capture_dropped;
    return;
  }
  ++ctx_.counters.capture_packets;
  auto when = static_cast<uint64_t>(ctx_.now.ns() + ctx_.realtime_offset_ns);
  uint32_t length = 28 + padded(captured) + 8 + 4 + 4;
  put32(kEnhancedPacket), put32(length), put32(0);
  put32(static_cast<uint32_t>(when >> 32)), put32(static_cast<uint32_t>(when));
  put32(captured), put32(static_cast<uint32_t>(total));
  uint32_t left = captured;
  for (ByteSpan p : pieces) {
    uint32_t n = p.size() < left ? static_cast<uint32_t>(p.size()) : left;
    put(p.data(), n);
    left -= n;
  }
  pad(captured);
  put16(kEpbFlags), put16(4), put32(inbound ? 1 : 2);
  put16(kOptEnd), put16(0), put32(length);
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
  for (auto& s : streams_) s->record(true, std::span(&frame.bytes, 1));
}

void Captures::on_sent(stack::LinkIndex, const buf::Packet& packet, const buf::Memory& memory) {
  std::array<ByteSpan, buf::Packet::kMaxPayloadParts + 2> pieces;
  size_t n = 0;
  pieces[n++] = packet.header_bytes();
  for (uint16_t i = 0; i < packet.part_count; ++i) pieces[n++] = memory.read(packet.parts[i]);
  if (!packet.tail.empty()) pieces[n++] = packet.tail;
  for (auto& s : streams_) s->record(false, std::span(pieces).first(n));
}

void Captures::flush() {
  for (auto& s : streams_) s->flush();
  std::erase_if(streams_, [](const auto& s) { return s->closed(); });
  if (streams_.empty()) host_.set_tap(nullptr);
}

}  // namespace ferry::server
