// The fast checksum against the one that everybody can check, over spans cut at any place.
#include "fuzz_input.h"
#include "wire/checksum.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace ferry;
  fuzz::FuzzInput in(data, size);
  const uint16_t cuts[3] = {in.u8(), in.u8(), in.u16()};
  const ByteSpan all = in.rest();
  uint64_t slow = 0;
  for (size_t i = 0; i < all.size(); ++i) slow += uint64_t{load_u8(all, i)} << (i % 2 == 0 ? 8 : 0);
  while (slow >> 16 != 0) slow = (slow & 0xffff) + (slow >> 16);
  wire::Checksum fast;
  ByteSpan rest = all;
  for (uint16_t cut : cuts) {
    const size_t n = cut < rest.size() ? cut : rest.size();
    fast.add(rest.first(n));
    rest = rest.subspan(n);
  }
  fast.add(rest);
  fuzz::check(fast.partial() == slow);
  return 0;
}
