// Every header: what emit() writes, parse() reads; and no parser minds any bytes at all.
#include <gtest/gtest.h>
#include <rapidcheck/gtest.h>

#include "support/bytes.h"
#include "wire/arp.h"
#include "wire/ethernet.h"
#include "wire/icmp.h"
#include "wire/ipv4.h"
#include "wire/tcp.h"
#include "wire/udp.h"

namespace ferry::wire {
namespace {

using test::Bytes;
using test::emit;

MacAddress any_mac() {
  MacAddress m;
  for (auto& o : m.octets) o = *rc::gen::arbitrary<uint8_t>();
  return m;
}

Ipv4Address any_ipv4() { return {*rc::gen::arbitrary<uint32_t>()}; }

TcpOptions any_options() {
  TcpOptions o;
  o.mss = *rc::gen::arbitrary<uint16_t>();
  o.window_scale = static_cast<int8_t>(*rc::gen::inRange(-1, 128));
  o.sack_permitted = *rc::gen::arbitrary<bool>();
  o.has_timestamps = *rc::gen::arbitrary<bool>();
  if (o.has_timestamps) {
    o.ts_value = *rc::gen::arbitrary<uint32_t>();
    o.ts_echo = *rc::gen::arbitrary<uint32_t>();
  }
  o.limit_sacks(static_cast<uint8_t>(*rc::gen::inRange(0, 5)));
  for (uint8_t i = 0; i < o.sack_count; ++i)
    o.sacks[i] = {SeqNum(*rc::gen::arbitrary<uint32_t>()), SeqNum(*rc::gen::arbitrary<uint32_t>())};
  return o;
}

RC_GTEST_PROP(RoundTrip, Ethernet, ()) {
  const EthernetFields f{any_mac(), any_mac(), *rc::gen::arbitrary<uint16_t>()};
  const Bytes bytes = emit(f);
  RC_ASSERT(*EthernetFields::parse(*EthernetView::parse(bytes)) == f);
}

RC_GTEST_PROP(RoundTrip, Arp, ()) {
  const ArpFields f{*rc::gen::arbitrary<uint16_t>(), any_mac(), any_ipv4(), any_mac(), any_ipv4()};
  const Bytes bytes = emit(f);
  RC_ASSERT(*ArpFields::parse(*ArpView::parse(bytes)) == f);
}

RC_GTEST_PROP(RoundTrip, Ipv4, ()) {
  Ipv4Fields f;
  f.tos = *rc::gen::arbitrary<uint8_t>();
  f.identification = *rc::gen::arbitrary<uint16_t>();
  f.dont_fragment = *rc::gen::arbitrary<bool>();
  f.more_fragments = *rc::gen::arbitrary<bool>();
  f.fragment_offset = static_cast<uint16_t>(*rc::gen::inRange(0, 8192) * 8);
  f.ttl = *rc::gen::arbitrary<uint8_t>();
  f.protocol = *rc::gen::arbitrary<uint8_t>();
  f.source = any_ipv4();
  f.destination = any_ipv4();
  const Bytes bytes = emit(f);
  RC_ASSERT(Ipv4View::parse(bytes)->checksum_ok());
  RC_ASSERT(*Ipv4Fields::parse(*Ipv4View::parse(bytes)) == f);
}

RC_GTEST_PROP(RoundTrip, Icmp, (uint8_t type, uint8_t code, uint16_t checksum, uint32_t rest)) {
  const IcmpFields f{type, code, checksum, rest};
  const Bytes bytes = emit(f);
  RC_ASSERT(*IcmpFields::parse(*IcmpView::parse(bytes)) == f);
}

RC_GTEST_PROP(RoundTrip, Udp, (uint16_t from, uint16_t to, uint16_t checksum)) {
  const UdpFields f{from, to, kUdpHeaderBytes, checksum};
  const Bytes bytes = emit(f);
  RC_ASSERT(*UdpFields::parse(*UdpView::parse(bytes)) == f);
}

RC_GTEST_PROP(RoundTrip, TcpOptions, ()) {
  const TcpOptions o = any_options();
  RC_ASSERT(o.size() <= TcpOptions::kMaxBytes);
  RC_ASSERT(o.size() % 4 == 0u);
  RC_ASSERT(*TcpOptions::parse(emit(o)) == o);
}

RC_GTEST_PROP(RoundTrip, Tcp, (uint16_t from, uint16_t to, uint32_t sequence, uint32_t acknowledgment)) {
  TcpFields f;
  f.source_port = from;
  f.destination_port = to;
  f.sequence = SeqNum(sequence);
  f.acknowledgment = SeqNum(acknowledgment);
  f.flags = *rc::gen::arbitrary<uint8_t>();
  f.window = *rc::gen::arbitrary<uint16_t>();
  f.checksum = *rc::gen::arbitrary<uint16_t>();
  f.urgent_pointer = *rc::gen::arbitrary<uint16_t>();
  f.options = any_options();
  const Bytes bytes = emit(f);
  RC_ASSERT(bytes.size() <= kTcpMaxHeaderBytes);
  RC_ASSERT(*TcpFields::parse(*TcpView::parse(bytes)) == f);
}

// Re-emitting what was understood of arbitrary options and reading it again changes nothing.
RC_GTEST_PROP(AnyBytes, TcpOptionsSettle, (std::vector<uint8_t> raw)) {
  Bytes bytes;
  for (uint8_t b : raw) bytes.push_back(std::byte{b});
  auto o = TcpOptions::parse(bytes);
  if (!o) return;
  RC_ASSERT(*TcpOptions::parse(emit(*o)) == *o);
}

RC_GTEST_PROP(AnyBytes, TcpSegmentsStayInside, (std::vector<uint8_t> raw)) {
  Bytes bytes;
  for (uint8_t b : raw) bytes.push_back(std::byte{b});
  auto view = TcpView::parse(bytes);
  if (!view) return;
  RC_ASSERT(view->header_length() + view->payload().size() == bytes.size());
}

}  // namespace
}  // namespace ferry::wire
