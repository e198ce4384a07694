//! Instruction sets: intrinsics behind [`Simd`](crate::simd::Simd), a folder an architecture.

/// Compiles every kernel of `lanes` inside functions that have `$features`, and makes the backend's table `KERNELS`. `$simd` is the
/// token of the module the macro is used in.
macro_rules! backend {
    ($simd:ident, $features:literal, $name:literal) => {
        backend! { @enter $simd, $features,
            fn quantize(x: &[f32], block: usize, out: ColumnMut<'_>) -> bool;
            fn rms_norm(x: &[f32], weight: &[f32], eps: f32, out: &mut [f32]) -> ();
            fn layer_norm(x: &[f32], weight: &[f32], bias: &[f32], eps: f32, out: &mut [f32]) -> ();
            fn activate(f: Activation, x: &[f32], up: Option<&[f32]>, out: &mut [f32]) -> ();
            fn soft_cap(x: &mut [f32], cap: f32) -> ();
            fn to_f16(x: &[f32], out: &mut [u16]) -> ();
            fn attend_f16(q: &Queries<'_>, chunk: &ChunkF16<'_>, visible: &[Range<usize>], state: &mut Gathered<'_>) -> ();
            fn attend_q8(q: &Queries<'_>, chunk: &ChunkQ8<'_>, visible: &[Range<usize>], state: &mut Gathered<'_>) -> ();
        }
        backend! { @matmul $simd, $features }

        /// The table. Only to be put into a `Backend` by the token.
        pub(crate) static KERNELS: Kernels =
            Kernels { name: $name, matmul, quantize, rms_norm, layer_norm, activate, soft_cap, to_f16, attend_f16, attend_q8 };
    };
    (@enter $simd:ident, $features:literal, $(fn $name:ident($($arg:ident: $ty:ty),*) -> $ret:ty;)*) => {$(
        fn $name($($arg: $ty),*) -> $ret {
            #[target_feature(enable = $features)]
            unsafe fn inner($($arg: $ty),*) -> $ret {
                // SAFETY: as below.
                lanes::$name(unsafe { <$simd>::assume() }, $($arg),*)
            }
            // SAFETY: reached only through a Backend, which is made from the token: the CPU has the features.
            unsafe { inner($($arg),*) }
        }
    )*};
    (@matmul $simd:ident, $features:literal) => {
        fn matmul(weights: Matrix<'_>, x: Columns<'_>, out: &mut Tile<'_>) {
            let (format, bytes) = (weights.format, weights.bytes);
            match weights.layout {
                Layout::Rows => format.visit(OfRows { bytes, x, out }),
                #[cfg(not(target_family = "wasm"))]
                Layout::Tiles => format.visit(OfTiles { bytes, x, out }),
            }
        }

        struct OfRows<'a, 'b> {
            bytes: &'a [u8],
            x: Columns<'a>,
            out: &'a mut Tile<'b>,
        }

        impl Visitor for OfRows<'_, '_> {
            type Out = ();
            backend! { @family $simd, $features, float, Float, Products::matmul_float }
            backend! { @family $simd, $features, narrow, Narrow, Products::matmul_narrow }
            backend! { @family $simd, $features, wide, Wide, Products::matmul_wide }
        }

        #[cfg(not(target_family = "wasm"))]
        struct OfTiles<'a, 'b> {
            bytes: &'a [u8],
            x: Columns<'a>,
            out: &'a mut Tile<'b>,
        }

        #[cfg(not(target_family = "wasm"))]
        impl Visitor for OfTiles<'_, '_> {
            type Out = ();

            /// Floats lie as they do in rows.
            fn float<F: Float>(self) {
                OfRows { bytes: self.bytes, x: self.x, out: self.out }.float::<F>();
            }

            backend! { @family $simd, $features, narrow, Narrow, lanes::tiles::matmul_narrow::<_, F> }
            backend! { @family $simd, $features, wide, Wide, lanes::tiles::matmul_wide::<_, F> }
        }
    };
    (@family $simd:ident, $features:literal, $name:ident, $family:ident, Products::$kernel:ident) => {
        backend! { @family $simd, $features, $name, $family, Products::$kernel::<F> }
    };
    (@family $simd:ident, $features:literal, $name:ident, $family:ident, $kernel:expr) => {
        fn $name<F: $family>(self) {
            #[target_feature(enable = $features)]
            unsafe fn inner<F: $family>(bytes: &[u8], x: Columns<'_>, out: &mut Tile<'_>) {
                // SAFETY: as below.
                $kernel(unsafe { <$simd>::assume() }, bytes, x, out);
            }
            // SAFETY: reached only through a Backend, which is made from the token: the CPU has the features.
            unsafe { inner::<F>(self.bytes, self.x, self.out) }
        }
    };
}

#[cfg(all(target_arch = "wasm32", target_feature = "simd128"))]
mod wasm32;
#[cfg(target_arch = "x86_64")]
mod x86_64;

#[cfg(all(target_arch = "wasm32", target_feature = "simd128"))]
pub use wasm32::Simd128;
#[cfg(target_arch = "x86_64")]
pub use x86_64::{Avx2, Avx512Vnni, AvxVnni};
