// Owns the list of epoll sets that watch an open file description (open_file.h).
#include "preload/open_file.h"

#include <algorithm>

#include "preload/epoll_set.h"

namespace ferry::preload {

void OpenFile::add_watcher(EpollSet* set) {
  client::Guard guard(watchers_mutex_);
  if (std::find(watchers_.begin(), watchers_.end(), set) == watchers_.end()) watchers_.push_back(set);
}

std::vector<EpollSet*> OpenFile::watchers() {
  client::Guard guard(watchers_mutex_);
  return watchers_;
}

void OpenFile::on_unnamed() {
  for (EpollSet* set : watchers()) set->forget(*this);
}

}  // namespace ferry::preload
