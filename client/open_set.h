// What a client has opened and not yet ended, so that Client::Close() ends all of it.
#pragma once

#include <algorithm>
#include <memory>
#include <vector>

#include "base/mutex.h"
#include "base/status.h"

namespace strata {

// A producer's or reader's inner part.
class Openable {
 public:
  virtual ~Openable() = default;
  // Ends it from outside with `why`, a CLIENT_CLOSED. Any thread; idempotent.
  virtual void End(const Status& why) = 0;
};

// Thread-safe. Owns nothing: what its owner has destroyed is forgotten.
class OpenSet {
 public:
  // Ends `opened` at once if everything was ended before.
  void Add(const std::shared_ptr<Openable>& opened) {
    {
      MutexLock lock(mu_);
      if (!ended_) {
        // Not each time: with 10,000 that are open it would be 50 million looks.
        if (open_.size() >= sweep_at_) {
          std::erase_if(open_, [](const std::weak_ptr<Openable>& item) { return item.expired(); });
          sweep_at_ = std::max<size_t>(16, 2 * open_.size());
        }
        open_.push_back(opened);
        return;
      }
    }
    opened->End(Closed());
  }

  void EndAll() {
    std::vector<std::weak_ptr<Openable>> open;
    {
      MutexLock lock(mu_);
      ended_ = true;
      open.swap(open_);
    }
    for (const std::weak_ptr<Openable>& item : open) {
      if (const std::shared_ptr<Openable> opened = item.lock()) opened->End(Closed());
    }
  }

  static Status Closed() { return Status(Reason::CLIENT_CLOSED, "the client was closed"); }

 private:
  Mutex mu_;
  std::vector<std::weak_ptr<Openable>> open_ STRATA_GUARDED_BY(mu_);
  size_t sweep_at_ STRATA_GUARDED_BY(mu_) = 16;  // what is gone is forgotten at this size
  bool ended_ STRATA_GUARDED_BY(mu_) = false;
};

}  // namespace strata
