//! The learning rate against the PyTorch peer's function, and by hand.

use selfie_train::{ScheduleConfig, ScheduleName, learning_rate, warmup_steps};

fn schedule(name: ScheduleName, warmup_steps: u64) -> ScheduleConfig {
    ScheduleConfig { name, warmup_steps }
}

// def learning_rate(step, steps, base):
//     warm = min(100, max(1, steps // 10))
//     if step < warm:
//         return base * (step + 1) / warm
//     return base * 0.5 * (1 + math.cos(math.pi * (step - warm) / (steps - warm)))
// for steps in (1000, 50, 3000): print(steps, [(s, learning_rate(s, steps, 0.1)) for s in (0, 1, 4, 5, 49, 99, 100, 500, 999, 2999) if s < steps])
#[test]
fn warm_up_and_cosine_are_those_of_the_pytorch_peer() {
    let expected = [
        (
            1000,
            vec![
                (0, 0.001),
                (1, 0.002),
                (4, 0.005),
                (5, 0.006),
                (49, 0.05),
                (99, 0.1),
                (100, 0.1),
                (500, 0.058682408883346526),
                (999, 3.046171104803541e-07),
            ],
        ),
        (50, vec![(0, 0.02), (1, 0.04), (4, 0.1), (5, 0.1), (49, 0.00012179748700879012)]),
        (3000, vec![(99, 0.1), (500, 0.09537877098354786), (999, 0.07810416889260653), (2999, 2.9338892498786962e-08)]),
    ];
    for (steps, rates) in expected {
        for (step, rate) in rates {
            let got = learning_rate(step, &ScheduleConfig::default(), steps, 0.1);
            assert!((got - rate).abs() < 1e-15, "step {step} of {steps}: {got}, expected {rate}");
        }
    }
}

#[test]
fn linear_falls_evenly_and_constant_stays() {
    let linear = schedule(ScheduleName::Linear, 2);
    let rates: Vec<_> = (0..6).map(|step| learning_rate(step, &linear, 6, 1.0)).collect();
    assert_eq!(rates, [0.5, 1.0, 1.0, 0.75, 0.5, 0.25]);
    let constant = schedule(ScheduleName::Constant, 2);
    assert_eq!([0, 1, 2, 5, 9].map(|step| learning_rate(step, &constant, 6, 1.0)), [0.5, 1.0, 1.0, 1.0, 1.0]);
}

#[test]
fn warm_up_is_a_tenth_of_short_runs_and_100_steps_of_long_ones() {
    let automatic = ScheduleConfig::default();
    assert_eq!([1, 9, 50, 1000, 120_000].map(|steps| warmup_steps(&automatic, steps)), [1, 1, 5, 100, 100]);
    assert_eq!(warmup_steps(&schedule(ScheduleName::Cosine, 7), 50), 7);
}

#[test]
fn the_rate_ends_at_zero_and_stays_there() {
    assert_eq!([50, 51, 1000].map(|step| learning_rate(step, &ScheduleConfig::default(), 50, 0.1)), [0.0; 3]);
}
