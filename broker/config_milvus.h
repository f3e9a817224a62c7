// What a milvus.yaml has beyond its rocksmq section, so that who pastes more of it is told what to write instead.
// Names as in configs/milvus.yaml of Milvus 2.2 to 2.6. Internal to the configuration.
#pragma once

#include <string>

namespace strata::broker {

// A section at the top of a milvus.yaml that means nothing to Strata: "etcd", "minio", ...
bool IsMilvusSection(const std::string& name);

// What to do about `natsmq.KEY: VALUE` ("server.maxPayload", "8388608"): the line that means the same here, or that
// there is none.
std::string InsteadOfNatsmq(const std::string& key, const std::string& value);

}  // namespace strata::broker
