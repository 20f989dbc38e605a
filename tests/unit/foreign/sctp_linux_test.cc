// Linux's structures of the SCTP sockets API: what programs write is read with care, what they read is where linux/sctp.h says.
#include "foreign/sctp_linux.h"

#include <gtest/gtest.h>
#include <netinet/in.h>

#include <linux/sctp.h>

#include <cstring>
#include <random>
#include <vector>

namespace ferry::foreign::sctp_linux {
namespace {

const wire::Endpoint kPeer{wire::IpAddress::from(wire::Ipv4Address::of(10, 9, 0, 2)), 7001};

template <typename T>
ByteSpan bytes_of(const T& value) {
  return std::as_bytes(std::span(&value, 1));
}

template <typename T>
T written(const Notification& n) {
  std::byte out[kMaxNotification];
  T value{};
  EXPECT_EQ(write_notification(n, out), sizeof value);
  std::memcpy(&value, out, sizeof value);
  return value;
}

TEST(SctpLinux, SendInfoComesBackAsItWasWritten) {
  SendInfo info;
  info.stream = 3;
  info.unordered = info.end = true;
  info.protocol = 77;
  info.context = 9;
  info.association = 0xfffffff0;
  for (int type : {kSendReceive, kSend}) {
    std::byte out[64];
    const size_t n = write_send_info(type, info, out);
    auto back = read_send_info(type, ByteSpan(out, n));
    ASSERT_TRUE(back.ok());
    EXPECT_EQ(back->stream, 3);
    EXPECT_TRUE(back->unordered && back->end && !back->abort);
    EXPECT_EQ(back->protocol, 77u);
    EXPECT_EQ(back->association, 0xfffffff0u);
    EXPECT_EQ(read_send_info(type, ByteSpan(out, n - 1)).error(), Errc::invalid);
  }
  EXPECT_EQ(read_send_info(SCTP_PRINFO, bytes_of(info)).error(), Errc::invalid);
}

TEST(SctpLinux, FlagsThatAreNotServedAreRefused) {
  sctp_sndrcvinfo info{};
  for (int flag = 1; flag < 0x10000; flag <<= 1) {
    info.sinfo_flags = static_cast<uint16_t>(flag);
    const bool served = (flag & (SCTP_UNORDERED | SCTP_ADDR_OVER | SCTP_ABORT | SCTP_SACK_IMMEDIATELY | SCTP_EOF)) != 0;
    EXPECT_EQ(read_send_info(kSendReceive, bytes_of(info)).ok(), served) << flag;
  }
}

TEST(SctpLinux, NotificationsHaveLinuxNumbers) {
  Notification n;
  n.association = 5;
  n.change = Change::shut_down;
  n.out_streams = 10;
  const auto change = written<sctp_assoc_change>(n);
  EXPECT_EQ(change.sac_type, SCTP_ASSOC_CHANGE);
  EXPECT_EQ(change.sac_length, sizeof change);
  EXPECT_EQ(change.sac_state, SCTP_SHUTDOWN_COMP);
  EXPECT_EQ(change.sac_outbound_streams, 10);
  EXPECT_EQ(change.sac_assoc_id, 5);
  n.kind = Kind::address;
  n.address = kPeer;
  n.state = SCTP_ADDR_CONFIRMED;
  const auto address = written<sctp_paddr_change>(n);
  sockaddr_in peer;
  std::memcpy(&peer, &address.spc_aaddr, sizeof peer);
  EXPECT_EQ(address.spc_type, SCTP_PEER_ADDR_CHANGE);
  EXPECT_EQ(ntohs(peer.sin_port), 7001);
  EXPECT_EQ(address.spc_state, SCTP_ADDR_CONFIRMED);
  n.kind = Kind::send_failure;
  n.more = 100;
  n.was_sent = true;
  n.message.stream = 4;
  const auto failed = written<sctp_send_failed>(n);
  EXPECT_EQ(failed.ssf_type, SCTP_SEND_FAILED);
  EXPECT_EQ(failed.ssf_length, sizeof failed + 100);
  EXPECT_EQ(failed.ssf_flags, SCTP_DATA_SENT);
  EXPECT_EQ(failed.ssf_info.sinfo_stream, 4);
  n.kind = Kind::send_failure_event;
  EXPECT_EQ(written<sctp_send_failed_event>(n).ssfe_info.snd_sid, 4);
  n.more = 0;
  n.kind = Kind::shutdown;
  EXPECT_EQ(written<sctp_shutdown_event>(n).sse_type, SCTP_SHUTDOWN_EVENT);
  n.kind = Kind::sender_dry;
  EXPECT_EQ(written<sctp_sender_dry_event>(n).sender_dry_assoc_id, 5);
  n.kind = Kind::adaptation;
  n.state = 0xabcd;
  EXPECT_EQ(written<sctp_adaptation_event>(n).sai_adaptation_ind, 0xabcdu);
  n.kind = Kind::partial_delivery;
  EXPECT_EQ(written<sctp_pdapi_event>(n).pdapi_assoc_id, 5);
  n.kind = Kind::remote_error;
  n.error = 2;
  EXPECT_EQ(written<sctp_remote_error>(n).sre_error, htons(2));
}

TEST(SctpLinux, NotificationsNeedTheirRoom) {
  std::byte out[kMaxNotification];
  for (int kind = 0; kind < static_cast<int>(Subscriptions::kBytes); ++kind) {
    Notification n;
    n.kind = static_cast<Kind>(kind);
    const size_t size = write_notification(n, out);
    if (size > 0) {
      EXPECT_EQ(write_notification(n, MutableByteSpan(out, size - 1)), 0u) << kind;
    }
  }
}

TEST(SctpLinux, AddressesAreIpv4OrNone) {
  sctp_paddrinfo info{};
  EXPECT_EQ(read_path_info(bytes_of(info))->address.port, 0);
  sockaddr_in v4{AF_INET, htons(9), {htonl(0x0a090002)}, {}};
  std::memcpy(&info.spinfo_address, &v4, sizeof v4);
  EXPECT_EQ(read_path_info(bytes_of(info))->address.port, 9);
  sockaddr_in6 v6{};
  v6.sin6_family = AF_INET6;
  v6.sin6_port = htons(9);
  v6.sin6_addr.s6_addr[0] = 0x20;
  std::memcpy(&info.spinfo_address, &v6, sizeof v6);
  EXPECT_EQ(read_path_info(bytes_of(info)).error(), Errc::invalid);
  info.spinfo_address.ss_family = AF_UNIX;
  EXPECT_EQ(read_path_info(bytes_of(info)).error(), Errc::invalid);
}

TEST(SctpLinux, AsManyAddressesAsThereIsRoomFor) {
  const std::vector<wire::Endpoint> all(20, kPeer);
  std::byte out[100];
  auto n = write_addresses(all, out);
  ASSERT_TRUE(n.ok());
  sctp_getaddrs head;
  std::memcpy(&head, out, sizeof head);
  EXPECT_EQ(head.addr_num, 5u);
  EXPECT_EQ(*n, 8 + 5 * sizeof(sockaddr_in));
  EXPECT_EQ(write_addresses(all, MutableByteSpan(out, 20)).error(), Errc::invalid);
}

// Whatever a program gives, in whatever length.
TEST(SctpLinux, NoiseIsReadOrRefused) {
  std::mt19937 random(4);
  for (int round = 0; round < 20000; ++round) {
    std::vector<std::byte> noise(random() % 200);
    for (std::byte& b : noise) b = static_cast<std::byte>(random());
    (void)read_send_info(static_cast<int>(random() % 5), noise);
    (void)read_path_info(noise);
    (void)read_path_parameters(noise);
    (void)read_association(noise);
    auto subscription = read_subscription(noise);
    if (subscription) {
      EXPECT_LT(static_cast<size_t>(subscription->kind), Subscriptions::kBytes);
    }
  }
}

}  // namespace
}  // namespace ferry::foreign::sctp_linux
