//! Plain loops, compiled for the widest registers that the processor turns out to have.

/// Runs `body` under the vector instructions found at run time.
///
/// `body` must be `#[inline(always)]`, as must every closure in it: `pulp::Arch::dispatch` with a bare closure goes
/// through a shim that is not inlined, and the loop would stay at the baseline's registers.
#[inline(always)]
pub(crate) fn vectorised(body: impl FnMut()) {
    struct Body<F>(F);
    impl<F: FnMut()> pulp::NullaryFnOnce for Body<F> {
        type Output = ();

        #[inline(always)]
        fn call(mut self) {
            (self.0)()
        }
    }
    pulp::Arch::new().dispatch(Body(body))
}
