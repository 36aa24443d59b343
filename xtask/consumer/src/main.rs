//! What a stranger does with the crates, one file each; every one ends in a claim about what it got.

mod attnpool;
mod encoder;
mod eval;
mod loss;
mod patch;
mod train;

use std::error::Error;
use std::process::ExitCode;

/// One crate's use: its name, and what is done with it.
type Use = (&'static str, fn() -> Result<String, Box<dyn Error>>);

const USES: [Use; 6] = [
    ("selfie-patch", patch::mask_an_image),
    ("selfie-encoder", encoder::train_a_trunk_for_a_step),
    ("selfie-attnpool", attnpool::pool_a_set_of_vectors),
    ("selfie-loss", loss::find_the_right_answer),
    ("selfie-train", train::pretrain_and_go_on),
    ("selfie-eval", eval::classify_by_features),
];

fn main() -> ExitCode {
    let mut code = ExitCode::SUCCESS;
    for (name, function) in USES {
        match function() {
            Ok(line) => println!("{name:16} {line}"),
            Err(error) => {
                eprintln!("{name:16} FAILED: {error}");
                code = ExitCode::FAILURE;
            }
        }
    }
    code
}

/// An error unless `claim` holds.
fn ensure(claim: bool, what: &str) -> Result<(), Box<dyn Error>> {
    if claim { Ok(()) } else { Err(format!("expected {what}").into()) }
}
