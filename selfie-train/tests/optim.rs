//! The optimisers against PyTorch, and their state over a restart.
#![allow(clippy::unwrap_used)]

use candle_core::{Device, Tensor};
use candle_nn::Init;
use selfie_train::{Gradients, OptimConfig, OptimName, Optimizer, ParamStore, Weights, write_tensors};

/// A matrix (which decays) and a bias (which does not), with the first values of the program below.
fn store() -> ParamStore {
    let store = ParamStore::new(0, &Device::Cpu);
    store.builder().get_with_hints((2, 2), "w.weight", Init::Const(0.0)).unwrap();
    store.builder().get_with_hints(2, "w.bias", Init::Const(0.0)).unwrap();
    let [w, b] = [&[1f32, -2., 0.5, 3.][..], &[0.25, -1.]].map(|values| Tensor::new(values, &Device::Cpu).unwrap());
    store.parameters()[0].var.set(&w.reshape((2, 2)).unwrap()).unwrap();
    store.parameters()[1].var.set(&b).unwrap();
    store
}

/// The gradient of sum(sin w) + sum(b^2).
fn gradients(store: &ParamStore) -> Gradients {
    let parameters = store.parameters();
    let of_w = parameters[0].var.sin().unwrap().sum_all().unwrap();
    let of_b = parameters[1].var.sqr().unwrap().sum_all().unwrap();
    Gradients::backward(&(of_w + of_b).unwrap(), &parameters).unwrap()
}

fn values(store: &ParamStore) -> Vec<f32> {
    store.parameters().iter().flat_map(|p| p.var.flatten_all().unwrap().to_vec1::<f32>().unwrap()).collect()
}

fn close(got: &[f32], expected: &[f32]) {
    let near = got.iter().zip(expected).all(|(got, expected)| (got - expected).abs() < 1e-6);
    assert!(near && got.len() == expected.len(), "{got:?}, expected {expected:?}");
}

const RATES: [f64; 3] = [0.1, 0.2, 0.05];

fn after_three_steps(config: &OptimConfig, clip: f64) -> Vec<f32> {
    let store = store();
    let mut optimizer = Optimizer::new(config, &store).unwrap();
    for lr in RATES {
        let gradients = gradients(&store);
        let scale = selfie_train::clip_factor(gradients.norm().unwrap(), clip);
        optimizer.step(&gradients, lr, scale).unwrap();
    }
    values(&store)
}

fn config(name: OptimName, momentum: f64, nesterov: bool) -> OptimConfig {
    OptimConfig {
        name,
        momentum,
        nesterov,
        weight_decay: 0.1,
        beta1: 0.9,
        beta2: 0.99,
        eps: 1e-6,
        ..OptimConfig::default()
    }
}

// def run(make, clip=None):
//     w = torch.nn.Parameter(torch.tensor([[1.0, -2.0], [0.5, 3.0]])); b = torch.nn.Parameter(torch.tensor([0.25, -1.0]))
//     o = make([dict(params=[w], weight_decay=0.1), dict(params=[b], weight_decay=0.0)])
//     for lr in (0.1, 0.2, 0.05):
//         for g in o.param_groups: g["lr"] = lr
//         o.zero_grad(); (w.sin().sum() + (b * b).sum()).backward()
//         if clip: torch.nn.utils.clip_grad_norm_([w, b], clip)
//         o.step()
//     print([round(x, 7) for x in w.flatten().tolist() + b.tolist()])
// run(lambda g: SGD(g, lr=.1)); run(lambda g: SGD(g, lr=.1, momentum=.9)); run(lambda g: SGD(g, lr=.1, momentum=.9, nesterov=True))
// run(lambda g: SGD(g, lr=.1, momentum=.9, nesterov=True), clip=.5)
// run(lambda g: Adam(g, lr=.1, betas=(.9, .99), eps=1e-6)); run(lambda g: AdamW(g, lr=.1, betas=(.9, .99), eps=1e-6))
#[test]
fn three_steps_of_each_optimiser_are_pytorch_s() {
    use OptimName::{Adam, AdamW, Sgd};
    let plain = [0.7597656, -1.8058991, 0.1655323, 3.2409499, 0.108, -0.432];
    close(&after_three_steps(&config(Sgd, 0.0, false), 0.0), &plain);
    let momentum = [0.5843687, -1.6511294, -0.0824144, 3.4227536, -0.01125, 0.045];
    close(&after_three_steps(&config(Sgd, 0.9, false), 0.0), &momentum);
    let nesterov = [0.3577119, -1.5349103, -0.3638196, 3.6123884, -0.066258, 0.265032];
    close(&after_three_steps(&config(Sgd, 0.9, true), 0.0), &nesterov);
    let clipped = [0.8069631, -1.7547476, 0.292236, 2.9133754, 0.1636897, -0.6547586];
    close(&after_three_steps(&config(Sgd, 0.9, true), 0.5), &clipped);
    let adam = [0.6496555, -1.6545175, 0.1497672, 3.3499038, -0.073911, -0.651832];
    close(&after_three_steps(&config(Adam, 0.9, false), 0.0), &adam);
    let adamw = [0.6186894, -1.595776, 0.1358633, 3.2426028, -0.073911, -0.651832];
    close(&after_three_steps(&config(AdamW, 0.9, false), 0.0), &adamw);
}

#[test]
fn the_first_nesterov_step_by_hand() {
    // g' = cos 1 + 0.1 * 1, b = g', p = 1 - 0.1 (g' + 0.9 b)
    let store = store();
    let mut optimizer = Optimizer::new(&config(OptimName::Sgd, 0.9, true), &store).unwrap();
    optimizer.step(&gradients(&store), 0.1, 1.0).unwrap();
    let gradient = 1f32.cos() + 0.1;
    assert!((values(&store)[0] - (1.0 - 0.1 * 1.9 * gradient)).abs() < 1e-6);
}

#[test]
fn the_norm_is_that_of_the_parameters_gradients_alone() {
    // cos² of the four weights and (2b)² of the two biases; sin w and b² are nodes of the graph that must not count.
    let squares = [1f64, -2., 0.5, 3.].iter().map(|w| w.cos().powi(2)).sum::<f64>() + 0.25 + 4.0;
    assert!((gradients(&store()).norm().unwrap() - squares.sqrt()).abs() < 1e-6);
}

#[test]
fn a_parameter_that_the_loss_does_not_reach_stays() {
    let store = store();
    let parameters = store.parameters();
    let loss = parameters[1].var.sqr().unwrap().sum_all().unwrap();
    let mut optimizer = Optimizer::new(&config(OptimName::AdamW, 0.9, false), &store).unwrap();
    optimizer.step(&Gradients::backward(&loss, &parameters).unwrap(), 0.1, 1.0).unwrap();
    assert_eq!(values(&store)[..4], [1.0, -2.0, 0.5, 3.0]);
}

#[test]
fn saved_state_continues_bit_for_bit() {
    let folder = tempfile::tempdir().unwrap();
    for name in [OptimName::Sgd, OptimName::AdamW] {
        let config = config(name, 0.9, true);
        let (straight, stopped) = (store(), store());
        let mut one = Optimizer::new(&config, &straight).unwrap();
        let mut two = Optimizer::new(&config, &stopped).unwrap();
        one.step(&gradients(&straight), 0.1, 1.0).unwrap();
        two.step(&gradients(&stopped), 0.1, 1.0).unwrap();

        let path = folder.path().join("state.safetensors");
        write_tensors(&path, &two.state().unwrap().into_iter().collect(), serde_json::json!({})).unwrap();
        let mut three = Optimizer::new(&config, &stopped).unwrap();
        three.load_state(&Weights::open(&path).unwrap(), two.updates()).unwrap();

        one.step(&gradients(&straight), 0.1, 1.0).unwrap();
        three.step(&gradients(&stopped), 0.1, 1.0).unwrap();
        assert_eq!(values(&straight), values(&stopped), "{name:?}");
    }
}
