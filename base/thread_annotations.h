// Macros for clang's thread-safety analysis (the `clang` preset makes its findings errors). Other
// compilers see nothing. Meaning of each: https://clang.llvm.org/docs/ThreadSafetyAnalysis.html
#pragma once

#if defined(__clang__)
#define STRATA_THREAD_ATTRIBUTE(x) __attribute__((x))
#else
#define STRATA_THREAD_ATTRIBUTE(x)
#endif

#define STRATA_CAPABILITY(x) STRATA_THREAD_ATTRIBUTE(capability(x))
#define STRATA_SCOPED_CAPABILITY STRATA_THREAD_ATTRIBUTE(scoped_lockable)
#define STRATA_GUARDED_BY(x) STRATA_THREAD_ATTRIBUTE(guarded_by(x))
#define STRATA_PT_GUARDED_BY(x) STRATA_THREAD_ATTRIBUTE(pt_guarded_by(x))
#define STRATA_REQUIRES(...) STRATA_THREAD_ATTRIBUTE(requires_capability(__VA_ARGS__))
#define STRATA_ACQUIRE(...) STRATA_THREAD_ATTRIBUTE(acquire_capability(__VA_ARGS__))
#define STRATA_RELEASE(...) STRATA_THREAD_ATTRIBUTE(release_capability(__VA_ARGS__))
#define STRATA_TRY_ACQUIRE(...) STRATA_THREAD_ATTRIBUTE(try_acquire_capability(__VA_ARGS__))
#define STRATA_EXCLUDES(...) STRATA_THREAD_ATTRIBUTE(locks_excluded(__VA_ARGS__))
#define STRATA_RETURN_CAPABILITY(x) STRATA_THREAD_ATTRIBUTE(lock_returned(x))
#define STRATA_NO_THREAD_SAFETY_ANALYSIS STRATA_THREAD_ATTRIBUTE(no_thread_safety_analysis)
