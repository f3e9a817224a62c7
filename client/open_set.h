// What a client has opened and not yet ended, so that Client::Close() ends all of it.
#pragma once

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
        std::erase_if(open_, [](const std::weak_ptr<Openable>& item) { return item.expired(); });
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
  bool ended_ STRATA_GUARDED_BY(mu_) = false;
};

}  // namespace strata
