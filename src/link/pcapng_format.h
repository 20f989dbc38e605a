// Numbers of the pcapng file format (draft-ietf-opsawg-pcapng), shared by its encoder and its decoder.
#pragma once

#include <cstddef>
#include <cstdint>

namespace ferry::link::pcapng {

inline constexpr uint32_t kSectionHeader = 0x0a0d0d0a;  // reads the same in both byte orders
inline constexpr uint32_t kInterfaceDescription = 1;
inline constexpr uint32_t kSimplePacket = 3;
inline constexpr uint32_t kEnhancedPacket = 6;
inline constexpr uint32_t kByteOrderMagic = 0x1a2b3c4d;
inline constexpr uint16_t kOptionEnd = 0;
inline constexpr uint16_t kOptionInterfaceName = 2;
inline constexpr uint16_t kOptionPacketFlags = 2;
inline constexpr uint16_t kOptionUserApplication = 4;
inline constexpr uint16_t kOptionTimeResolution = 9;
inline constexpr uint16_t kLinkEthernet = 1;
inline constexpr uint32_t kMaxBlockBytes = 1u << 20;  // longer ones are refused, not believed

// Everything in a block is filled up to 32 bits.
constexpr size_t padded(size_t n) { return (n + 3) & ~size_t{3}; }

}  // namespace ferry::link::pcapng
