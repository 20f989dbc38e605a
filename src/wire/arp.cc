// Reading and writing ARP packets.
#include "wire/arp.h"

#include "wire/ethernet.h"

namespace ferry::wire {
namespace {
constexpr uint16_t kHardwareEthernet = 1;
constexpr uint16_t kLengths = 0x0604;  // of a MAC and an IPv4 address
}  // namespace

Result<ArpView> ArpView::parse(ByteSpan bytes) {
  if (bytes.size() < kArpBytes) return Errc::malformed;
  if (load_be16(bytes, 0) != kHardwareEthernet || load_be16(bytes, 2) != kEtherIpv4 || load_be16(bytes, 4) != kLengths)
    return Errc::malformed;
  return ArpView(bytes.first(kArpBytes));
}

MacAddress ArpView::sender_mac() const { return load_mac(bytes_, 8); }
MacAddress ArpView::target_mac() const { return load_mac(bytes_, 18); }

Result<ArpFields> ArpFields::parse(const ArpView& view) {
  return ArpFields{view.operation(), view.sender_mac(), view.sender_ip(), view.target_mac(), view.target_ip()};
}

void ArpFields::emit(MutableByteSpan out) const {
  store_be16(out, 0, kHardwareEthernet);
  store_be16(out, 2, kEtherIpv4);
  store_be16(out, 4, kLengths);
  store_be16(out, 6, operation);
  store_mac(out, 8, sender_mac);
  store_be32(out, 14, sender_ip.value);
  store_mac(out, 18, target_mac);
  store_be32(out, 24, target_ip.value);
}

}  // namespace ferry::wire
