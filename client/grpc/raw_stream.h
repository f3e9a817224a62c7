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

  // Sends after what was written before. Dropped if the stream is ending: OnEnd() tells.
  void Write(grpc::ByteBuffer message);
  // Nothing is written any more; the daemon may still answer.
  void HalfClose();
  void Cancel();
  // False when the stream has not ended in time, or at once when called by a callback of a stream,
  // which the end would wait for.
  bool WaitUntilEnded(std::chrono::milliseconds timeout);
  // HalfClose(), some time for the daemon to end the stream, else Cancel().
  void End();

 protected:
  explicit RawStream(std::shared_ptr<Connection> connection) : connection_(std::move(connection)) {}

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
  // No operation is started from now on.
  void StopWriting() STRATA_REQUIRES(mu_);

  // Outlives the stream for those who wait for its end.
  struct Ending {
    Mutex mu;
    CondVar changed;
    bool ended STRATA_GUARDED_BY(mu) = false;
  };

  grpc::ClientContext context_;
  grpc::ByteBuffer received_;        // of the read under way
  std::shared_ptr<RawStream> self_;  // from Start() to OnDone()
  const std::shared_ptr<Ending> ending_ = std::make_shared<Ending>();

  Mutex mu_;
  std::deque<grpc::ByteBuffer> to_write_ STRATA_GUARDED_BY(mu_);  // the first may be under way
  bool writing_ STRATA_GUARDED_BY(mu_) = false;
  bool half_close_ STRATA_GUARDED_BY(mu_) = false;
  bool broken_ STRATA_GUARDED_BY(mu_) = false;   // a write failed; the failing read will follow
  bool stopped_ STRATA_GUARDED_BY(mu_) = false;  // the hold is given back
  uint64_t sent_ STRATA_GUARDED_BY(mu_) = 0;
};

}  // namespace strata
