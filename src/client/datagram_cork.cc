#include "client/datagram_cork.h"

#include <cerrno>
#include <utility>

#include "client/socket.h"

namespace ferry::client {

long DatagramCork::add(const SendRequest& request, size_t most) {
  Guard guard(mutex_);
  if (!parcel_) {
    Parcel& fresh = parcel_.emplace();
    if (request.to != nullptr) fresh.to = *request.to;
    if (request.source != nullptr) fresh.source = *request.source;
    fresh.tos = request.tos;
    fresh.ttl = request.ttl;
  }
  IovCursor data(request.data);
  const size_t before = parcel_->bytes.size(), length = data.left();
  if (length > most - before) {
    parcel_.reset();
    return -EMSGSIZE;
  }
  parcel_->bytes.resize(before + length);
  if (data.copy_out(parcel_->bytes.data() + before, length) < length) {
    parcel_.reset();
    return -EFAULT;
  }
  return static_cast<long>(length);
}

bool DatagramCork::is_empty() {
  Guard guard(mutex_);
  return !parcel_;
}

std::optional<DatagramCork::Parcel> DatagramCork::take() {
  Guard guard(mutex_);
  return std::exchange(parcel_, std::nullopt);
}

}  // namespace ferry::client
