//! What `mpirun` and `srun` tell the processes that they start, before these have said a word to each other.
//!
//! Slurm's variables also stand in a shell inside of a job, so they count only where a launcher started several processes.

/// A way to look a variable up: the environment's, or a test's.
type Look<'a> = &'a dyn Fn(&str) -> Option<String>;

/// Number of processes that were started together, this one included.
#[must_use]
pub fn started_together() -> usize {
    size_by(&environment)
}

/// Which of the processes that were started together this is, counted from 0; known before they are connected.
#[must_use]
pub fn started_as() -> usize {
    of_several(&environment, 0, &["OMPI_COMM_WORLD_RANK", "PMI_RANK", "PMIX_RANK", "SLURM_PROCID"])
}

/// This process's share of `cores`, where mpirun started several beside each other on them; none where they are all its own. srun gives each task
/// its own cores.
#[must_use]
pub fn own_cores(cores: usize) -> Option<usize> {
    let beside = of_several(&environment, 1, &["OMPI_COMM_WORLD_LOCAL_SIZE", "MPI_LOCALNRANKS"]);
    (beside > 1).then(|| (cores / beside).max(1))
}

/// Which of the processes on this machine this is, counted from 0.
pub(crate) fn local_rank() -> usize {
    of_several(&environment, 0, &["OMPI_COMM_WORLD_LOCAL_RANK", "MPI_LOCALRANKID", "SLURM_LOCALID"])
}

/// Number of processes on this machine that were started together.
pub(crate) fn local_size() -> usize {
    local_size_by(&environment)
}

fn environment(name: &str) -> Option<String> {
    std::env::var(name).ok()
}

fn size_by(look: Look) -> usize {
    let told = first(look, &["OMPI_COMM_WORLD_SIZE", "PMI_SIZE"]);
    // srun sets the number of tasks in every step; PMIX_RANK only where it started them for MPI.
    let by_srun = || look("PMIX_RANK").and_then(|_| first(look, &["SLURM_STEP_NUM_TASKS", "SLURM_NTASKS"]));
    told.or_else(by_srun).unwrap_or(1)
}

fn local_size_by(look: Look) -> usize {
    let names = ["OMPI_COMM_WORLD_LOCAL_SIZE", "MPI_LOCALNRANKS", "SLURM_STEP_TASKS_PER_NODE", "SLURM_NTASKS_PER_NODE"];
    of_several(look, 1, &names).max(1)
}

/// The first number among these variables; `alone` where one process was started.
fn of_several(look: Look, alone: usize, names: &[&str]) -> usize {
    if size_by(look) > 1 { first(look, names).unwrap_or(alone) } else { alone }
}

/// The number that the first of these variables begins with: Slurm writes `2(x3),1` for machines with two, two, two and one.
fn first(look: Look, names: &[&str]) -> Option<usize> {
    names.iter().find_map(|name| look(name)?.split(['(', ',']).next()?.parse().ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn with<'a>(variables: &'a [(&'a str, &'a str)]) -> impl Fn(&str) -> Option<String> + 'a {
        |name| variables.iter().find(|(known, _)| *known == name).map(|(_, value)| (*value).to_owned())
    }

    #[test]
    fn a_shell_inside_of_a_job_is_one_process() {
        let shell = with(&[("SLURM_NTASKS", "16"), ("SLURM_NTASKS_PER_NODE", "8"), ("SLURM_PROCID", "0")]);
        assert_eq!((size_by(&shell), local_size_by(&shell)), (1, 1));
        assert_eq!(size_by(&with(&[])), 1);
    }

    #[test]
    fn srun_and_mpirun_tell_how_many_they_started() {
        let step = [("PMIX_RANK", "5"), ("SLURM_STEP_NUM_TASKS", "7"), ("SLURM_STEP_TASKS_PER_NODE", "2(x3),1")];
        let srun = with(&step);
        assert_eq!((size_by(&srun), local_size_by(&srun)), (7, 2));
        assert_eq!(of_several(&srun, 0, &["OMPI_COMM_WORLD_RANK", "PMIX_RANK"]), 5);
        let mpirun = with(&[("OMPI_COMM_WORLD_SIZE", "4"), ("OMPI_COMM_WORLD_LOCAL_SIZE", "4")]);
        assert_eq!((size_by(&mpirun), local_size_by(&mpirun)), (4, 4));
    }
}
