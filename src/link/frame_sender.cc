#include "link/frame_sender.h"

#include <cerrno>
#include <cstring>

#include "wire/ethernet.h"

namespace ferry::link {

FrameSender::FrameSender(int fd, uint32_t mtu, Counters& counters)
    : fd_(fd), mtu_(mtu), counters_(counters), stages_(kStagedFrames) {
  for (size_t i = 0; i < kStagedFrames; ++i) {
    messages_[i] = mmsghdr{};
    messages_[i].msg_hdr.msg_iov = &pieces_[i];
    messages_[i].msg_hdr.msg_iovlen = 1;
  }
}

Status FrameSender::send(const buf::Packet& packet, const buf::Memory& memory) {
  Gathered g;
  const bool fits = packet.offload.gso_type != buf::GsoType::none || packet.frame_length() <= mtu_ + wire::kEthernetHeaderBytes;
  if (!fits || !gather(packet, memory, g)) {
    ++counters_.tx_errors;
    return Errc::malformed;
  }
  if (sizeof(VnetHeader) + g.bytes <= kStagedBytes && packet.offload.gso_type == buf::GsoType::none) {
    if (end_ == kStagedFrames) flush();
    if (end_ == kStagedFrames) return Errc::again;
    stage(g);
    return {};
  }
  flush();  // frames leave in the order of the calls
  if (end_ != first_) return Errc::again;
  return send_now(g, packet.offload);
}

void FrameSender::stage(const Gathered& g) {
  Stage& s = stages_[end_];
  s.vnet = g.vnet;
  copy_gathered(g, s.frame);
  pieces_[end_] = {&s, sizeof(VnetHeader) + g.bytes};
  ++end_;
}

Status FrameSender::send_now(Gathered& g, const buf::Offload& offload) {
  msghdr message{};
  message.msg_iov = g.pieces.data();
  message.msg_iovlen = g.count;
  if (::sendmsg(fd_, &message, MSG_DONTWAIT) >= 0) {
    wants_write_ = false;
    ++counters_.tx_frames;
    counters_.tx_bytes += g.bytes;
    return {};
  }
  // Of more than 64 KiB the kernel may have no pages in pieces large enough, while it has plenty of small ones.
  const bool too_large = errno == ENOBUFS && g.bytes > buf::kMaxIpPacket;
  if ((errno == EINVAL || too_large) && offload.gso_type != buf::GsoType::none) return send_cut(g, offload);
  return refused(errno);
}

Errc FrameSender::refused(int error) {
  wants_write_ = error == EAGAIN || error == EINTR;
  switch (error) {
    case EAGAIN:
    case EINTR:
      return Errc::again;
    case ENOBUFS:
    case ENOMEM:
    case ENETDOWN:
    case ENXIO:
      ++counters_.tx_dropped;
      return Errc::no_buffers;
    default:
      ++counters_.tx_errors;
      return Errc::malformed;
  }
}

// UDP segmentation, for one, is unknown to packet sockets before Linux 6.2.
Status FrameSender::send_cut(const Gathered& g, const buf::Offload& offload) {
  if (cut_frame_.size() < g.bytes) cut_frame_.resize(g.bytes);
  cut_scratch_.resize(kSegmentScratch);
  copy_gathered(g, cut_frame_);
  if (cut_segments({ByteSpan(cut_frame_).first(g.bytes), offload}, cut_scratch_, *this) == 0) {
    ++counters_.tx_errors;
    return Errc::malformed;
  }
  return {};
}

void FrameSender::on_segment(ByteSpan bytes) {
  VnetHeader none;
  iovec pieces[2] = {{&none, sizeof none}, {const_cast<std::byte*>(bytes.data()), bytes.size()}};
  msghdr message{};
  message.msg_iov = pieces;
  message.msg_iovlen = 2;
  if (::sendmsg(fd_, &message, MSG_DONTWAIT) >= 0) {
    ++counters_.tx_frames;
    counters_.tx_bytes += bytes.size();
  } else {
    ++counters_.tx_dropped;  // part of the super-frame may have left: loss, not "again"
  }
}

void FrameSender::flush() {
  while (first_ < end_) {
    int sent = ::sendmmsg(fd_, &messages_[first_], static_cast<unsigned>(end_ - first_), MSG_DONTWAIT);
    if (sent < 0) {
      if (errno == EINTR) continue;
      if (refused(errno) == Errc::again) break;
      sent = 1;  // that one is lost and counted; go on behind it
    } else {
      wants_write_ = false;
      counters_.tx_frames += static_cast<unsigned>(sent);
      for (int i = 0; i < sent; ++i) counters_.tx_bytes += pieces_[first_ + static_cast<size_t>(i)].iov_len - sizeof(VnetHeader);
    }
    first_ += static_cast<size_t>(sent);
  }
  if (first_ == end_) first_ = end_ = 0;
}

}  // namespace ferry::link
