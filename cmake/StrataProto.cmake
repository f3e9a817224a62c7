# strata_proto_library(NAME PROTOS file... [ROOT dir] [GRPC] [LITE])
#
# Makes the static library NAME from .proto files of the current folder. A file is included in C++,
# and imported in other .proto files, by its path below ROOT (default: the root of the repository):
# "storage/catalog.pb.h". GRPC adds the service stubs ("strata/v1/strata.grpc.pb.h"). LITE links the
# small runtime; the files must say `option optimize_for = LITE_RUNTIME`.
#
# The code is generated into the build folder, and compiled and included without this project's
# warnings.
function(strata_proto_library NAME)
  cmake_parse_arguments(PARSE_ARGV 1 ARG "GRPC;LITE" "ROOT" "PROTOS")
  if(NOT ARG_ROOT)
    set(ARG_ROOT "${PROJECT_SOURCE_DIR}")
  endif()
  if(NOT ARG_PROTOS)
    message(STATUS "${NAME}: no .proto files yet")
    add_library(${NAME} INTERFACE)
    return()
  endif()

  set(out "${PROJECT_BINARY_DIR}/generated")
  file(MAKE_DIRECTORY "${out}")
  set(generated)
  foreach(proto IN LISTS ARG_PROTOS)
    set(source "${CMAKE_CURRENT_SOURCE_DIR}/${proto}")
    cmake_path(RELATIVE_PATH source BASE_DIRECTORY "${ARG_ROOT}" OUTPUT_VARIABLE path)
    string(REGEX REPLACE "\\.proto$" "" stem "${out}/${path}")
    set(outputs "${stem}.pb.cc" "${stem}.pb.h")
    set(arguments --proto_path "${ARG_ROOT}" --cpp_out "${out}")
    if(ARG_GRPC)
      list(APPEND outputs "${stem}.grpc.pb.cc" "${stem}.grpc.pb.h")
      list(APPEND arguments
        --grpc_out "${out}" "--plugin=protoc-gen-grpc=$<TARGET_FILE:gRPC::grpc_cpp_plugin>")
    endif()
    add_custom_command(
      OUTPUT ${outputs}
      COMMAND protobuf::protoc ${arguments} "${source}"
      DEPENDS ${ARG_PROTOS}
      COMMENT "Generating C++ from ${path}"
      VERBATIM)
    list(APPEND generated ${outputs})
  endforeach()

  add_library(${NAME} STATIC ${generated})
  target_include_directories(${NAME} SYSTEM PUBLIC "$<BUILD_INTERFACE:${out}>")
  target_link_libraries(${NAME} PUBLIC
    $<IF:$<BOOL:${ARG_LITE}>,protobuf::libprotobuf-lite,protobuf::libprotobuf>
    $<$<BOOL:${ARG_GRPC}>:gRPC::grpc++>)
endfunction()
