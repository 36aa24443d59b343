//! The program about itself: what it was built from, and the name that it was started by.

use selfie_train::Build;

/// Version, commit, and whether the sources differed from the commit.
pub const VERSION: &str = env!("SELFIE_VERSION");

/// Environment variable by which `cargo xtask` passes on what the user typed.
const STARTED_AS: &str = "SELFIE_STARTED_AS";

/// Returns what the build script recorded.
pub fn build() -> Build {
    let owned = |word: Option<&str>| word.map(str::to_owned);
    Build {
        commit: owned(option_env!("SELFIE_COMMIT")),
        modified: option_env!("SELFIE_MODIFIED").map(|word| word == "true"),
        candle: owned(option_env!("SELFIE_CANDLE_CORE")),
        gemm: owned(option_env!("SELFIE_GEMM")),
        safetensors: owned(option_env!("SELFIE_SAFETENSORS")),
    }
}

/// Returns what stands before a command in printed advice: `cargo xtask` in a checkout, `selfie` elsewhere.
pub fn name() -> String {
    std::env::var(STARTED_AS).unwrap_or_else(|_| "selfie".to_owned())
}
