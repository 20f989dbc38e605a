// ICMP errors: whatever is quoted, what comes out names a socket of a known protocol, and the quote lies within the message.
#include "fuzz_input.h"
#include "net/icmp.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace ferry;
  fuzz::FuzzInput in(data, size);
  const ByteSpan packet = in.rest();
  auto outer = wire::Ipv4View::parse(packet);
  if (!outer) return 0;
  net::Interface interface;
  interface.prefix = {wire::Ipv4Address::of(10, 9, 0, 1), 24};
  (void)net::may_send_error(interface, *outer, size % 2 == 0);
  auto message = wire::IcmpView::parse(outer->payload());
  if (!message) return 0;
  auto error = net::read_icmp_error(*outer, *message);
  if (!error) return 0;
  fuzz::check(message->is_error());
  fuzz::check(error->error != Errc::ok);
  fuzz::check(error->protocol == 1 || error->protocol == 6 || error->protocol == 17);
  fuzz::check(error->quoted.data() >= packet.data() &&
              error->quoted.data() + error->quoted.size() <= packet.data() + packet.size());
  return 0;
}
