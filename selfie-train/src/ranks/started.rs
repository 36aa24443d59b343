//! What `mpirun` and `srun` tell the processes that they start, before these have said a word to each other.

use std::env::var;

/// Number of processes that were started together, this one included.
pub(super) fn size() -> usize {
    let told = first(&["OMPI_COMM_WORLD_SIZE", "PMI_SIZE"]);
    // srun sets SLURM_NTASKS in every job; PMIX_RANK only where it started processes for MPI.
    let by_srun = || var("PMIX_RANK").ok().and_then(|_| first(&["SLURM_STEP_NUM_TASKS", "SLURM_NTASKS"]));
    told.or_else(by_srun).unwrap_or(1)
}

/// Which of the processes that were started together this is, counted from 0; known before they are connected.
#[must_use]
pub fn started_as() -> usize {
    if size() > 1 { first(&["OMPI_COMM_WORLD_RANK", "PMI_RANK", "PMIX_RANK", "SLURM_PROCID"]).unwrap_or(0) } else { 0 }
}

/// Which of the processes on this machine this is, counted from 0.
#[must_use]
pub fn local_rank() -> usize {
    first(&["OMPI_COMM_WORLD_LOCAL_RANK", "MPI_LOCALRANKID", "SLURM_LOCALID"]).unwrap_or(0)
}

/// Number of processes on this machine that were started together.
#[must_use]
pub fn local_size() -> usize {
    first(&["OMPI_COMM_WORLD_LOCAL_SIZE", "MPI_LOCALNRANKS", "SLURM_NTASKS_PER_NODE"]).unwrap_or(1).max(1)
}

/// The first of these variables that holds a number.
fn first(names: &[&str]) -> Option<usize> {
    names.iter().find_map(|name| var(name).ok()?.parse().ok())
}
