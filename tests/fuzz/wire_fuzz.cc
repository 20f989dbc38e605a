// Every header parser: what it accepts can be read through every accessor, and what is emitted again reads the same.
#include "fuzz_input.h"
#include "wire/arp.h"
#include "wire/ethernet.h"
#include "wire/icmp.h"
#include "wire/ipv4.h"
#include "wire/tcp.h"
#include "wire/udp.h"

namespace {

using namespace ferry;
using fuzz::check;

template <typename Fields, typename View>
void round_trip(const View& view) {
  auto fields = Fields::parse(view);
  if (!fields || fields->size() > 60) return;
  std::byte out[60];
  fields->emit(out);
  auto again = View::parse(ByteSpan(out, fields->size()));
  if (again) check(*Fields::parse(*again) == *fields);  // lengths may name a payload that is not there
}

unsigned touch(ByteSpan s) {
  unsigned sum = 0;
  for (std::byte b : s) sum += std::to_integer<unsigned>(b);
  return sum;
}

volatile unsigned g_sink;

void ipv4(ByteSpan bytes) {
  for (const auto& view : {wire::Ipv4View::parse(bytes), wire::Ipv4View::parse(bytes, true), wire::Ipv4View::parse_quoted(bytes)}) {
    if (!view) continue;
    check(view->header_length() >= 20 && view->header_length() <= 60);
    check(view->header_length() + view->payload().size() == view->bytes().size());
    g_sink = touch(view->payload()) + touch(view->option_bytes()) + view->has_source_route() + view->checksum_ok();
    round_trip<wire::Ipv4Fields>(*view);
  }
}

void tcp(ByteSpan bytes) {
  auto view = wire::TcpView::parse(bytes);
  if (!view) return;
  check(view->header_length() + view->payload().size() == bytes.size());
  g_sink = touch(view->payload()) + touch(view->option_bytes()) + view->urgent_pointer();
  round_trip<wire::TcpFields>(*view);
}

void udp(ByteSpan bytes) {
  auto view = wire::UdpView::parse(bytes);
  if (!view) return;
  check(view->payload().size() + 8 == view->length());
  g_sink = touch(view->payload());
  round_trip<wire::UdpFields>(*view);
}

void icmp(ByteSpan bytes) {
  auto view = wire::IcmpView::parse(bytes);
  if (!view) return;
  g_sink = touch(view->data()) + view->checksum_ok() + view->is_error() + view->next_hop_mtu();
  round_trip<wire::IcmpFields>(*view);
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  fuzz::FuzzInput in(data, size);
  const uint8_t which = in.u8();
  const ByteSpan bytes = in.rest();
  switch (which % 6) {
    case 0:
      if (auto view = wire::EthernetView::parse(bytes)) {
        g_sink = touch(view->payload()) + view->is_vlan();
        round_trip<wire::EthernetFields>(*view);
      }
      break;
    case 1:
      if (auto view = wire::ArpView::parse(bytes)) round_trip<wire::ArpFields>(*view);
      break;
    case 2: ipv4(bytes); break;
    case 3: icmp(bytes); break;
    case 4: udp(bytes); break;
    default: tcp(bytes); break;
  }
  return 0;
}
