// Reading and writing the ICMP header.
#include "wire/icmp.h"

#include "wire/checksum.h"

namespace ferry::wire {

Result<IcmpView> IcmpView::parse(ByteSpan bytes) {
  if (bytes.size() < kIcmpHeaderBytes) return Errc::malformed;
  return IcmpView(bytes);
}

bool IcmpView::checksum_ok() const { return wire::checksum_ok(Checksum(), bytes_); }

bool IcmpView::is_error() const {
  switch (type()) {
    case kIcmpUnreachable:
    case kIcmpSourceQuench:
    case kIcmpRedirect:
    case kIcmpTimeExceeded:
    case kIcmpParameterProblem: return true;
    default: return false;
  }
}

Result<IcmpFields> IcmpFields::parse(const IcmpView& view) {
  return IcmpFields{view.type(), view.code(), view.checksum(), view.rest()};
}

void IcmpFields::emit(MutableByteSpan out) const {
  store_u8(out, 0, type);
  store_u8(out, 1, code);
  store_be16(out, kIcmpChecksumOffset, checksum);
  store_be32(out, 4, rest);
}

void IcmpFields::seal(ByteSpan data) {
  Checksum sum;
  sum.add_be16(static_cast<uint16_t>(type << 8 | code));
  sum.add_be32(rest);
  sum.add(data);
  checksum = sum.finish();
}

}  // namespace ferry::wire
