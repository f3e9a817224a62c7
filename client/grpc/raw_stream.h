// RawStream: a bidirectional call whose messages are bytes. Does what every stream of the client
// needs: one write at a time in the order of Write(), one read at a time, half-close, cancel, the
// end exactly once, and a life of its own until gRPC has let go of it.
//
// Life: Start() makes it own itself until OnEnd() has run, so its users may drop it at any moment;
// Cancel() and WaitUntilEnded() are for those who want to see it gone. Who waited is told only
// after the stream has let go of itself, so that the connection ends with those who waited, not on
// a thread of gRPC (see connection.h). Locks: nothing virtual is called while mu_ is held.
#pragma once

#include <grpcpp/client_context.h>

#include <chrono>
#include <cstdint>
#include <deque>
#include <memory>
#include <optional>
#include <string>

#include <grpcpp/support/byte_buffer.h>
#include <grpcpp/support/client_callback.h>

#include "base/buffer.h"
#include "base/mutex.h"
#include "client/grpc/connection.h"

namespace strata {

class RawStream : private grpc::ClientBidiReactor<grpc::ByteBuffer, grpc::ByteBuffer> {
 public:
  ~RawStream() override = default;
  RawStream(const RawStream&) = delete;
  RawStream& operator=(const RawStream&) = delete;

  // `first` is the first message. Once.
  static void Start(const std::shared_ptr<RawStream>& stream, const std::string& method,
                    grpc::ByteBuffer first);

  // Waits until the daemon has accepted the stream (SetOpened), or has ended it: then why. TIMEOUT
  // leaves it going. `what` is what the daemon should open.
  Status AwaitOpened(std::chrono::milliseconds timeout, const char* what);
  // Sends after what was written before. Dropped if the stream is ending: OnEnd() tells.
  void Write(grpc::ByteBuffer message);
  // Calls Fill() for a message as soon as nothing is being written: what has gathered until then goes
  // out as one.
  void WriteWhenIdle();
  // Nothing is written any more; the daemon may still answer.
  void HalfClose();
  void Cancel();
  // False when the stream has not ended in time, or at once when called by a callback of a stream,
  // which the end would wait for.
  bool WaitUntilEnded(std::chrono::milliseconds timeout);
  // The daemon has handled everything that was written.
  bool EndedInPeace();
  // HalfClose(), some time for the daemon to end the stream, else Cancel().
  void End();

 protected:
  explicit RawStream(std::shared_ptr<Connection> connection) : connection_(std::move(connection)) {}

  // The daemon has accepted the stream.
  void SetOpened();
  // See WriteWhenIdle(). On any thread.
  virtual std::optional<grpc::ByteBuffer> Fill() { return std::nullopt; }
  // On a thread of gRPC, one after the other.
  virtual void OnMessage(Buffer message) = 0;
  // After everything else. `sent` of the messages given to Write() (and Start) were handed to gRPC;
  // the others never left.
  virtual void OnEnd(const grpc::Status& status, uint64_t sent) = 0;

  const std::shared_ptr<Connection> connection_;

 private:
  void OnReadDone(bool ok) override;
  void OnWriteDone(bool ok) override;
  void OnDone(const grpc::Status& status) override;
  void StartNextWrite() STRATA_REQUIRES(mu_);
  // Writes what is due, which may be what Fill() brings: mu_ is released meanwhile.
  void GoOnWriting() STRATA_REQUIRES(mu_);
  // No operation is started from now on.
  void StopWriting() STRATA_REQUIRES(mu_);

  // Outlives the stream for those who wait for its end.
  struct Ending {
    Mutex mu;
    CondVar changed;
    bool opened STRATA_GUARDED_BY(mu) = false;
    bool ended STRATA_GUARDED_BY(mu) = false;
    Status why STRATA_GUARDED_BY(mu);  // once ended; OK if it was ended in peace
  };

  grpc::ClientContext context_;
  grpc::ByteBuffer received_;        // of the read under way
  std::shared_ptr<RawStream> self_;  // from Start() to OnDone()
  const std::shared_ptr<Ending> ending_ = std::make_shared<Ending>();

  Mutex mu_;
  std::deque<grpc::ByteBuffer> to_write_ STRATA_GUARDED_BY(mu_);  // the first may be under way
  bool writing_ STRATA_GUARDED_BY(mu_) = false;
  bool wants_fill_ STRATA_GUARDED_BY(mu_) = false;
  bool filling_ STRATA_GUARDED_BY(mu_) = false;
  bool half_close_ STRATA_GUARDED_BY(mu_) = false;
  bool writes_done_ STRATA_GUARDED_BY(mu_) = false;
  bool broken_ STRATA_GUARDED_BY(mu_) = false;   // a write failed; the failing read will follow
  bool stopped_ STRATA_GUARDED_BY(mu_) = false;  // the hold is given back
  uint64_t sent_ STRATA_GUARDED_BY(mu_) = 0;
};

}  // namespace strata
