//! Packed weights in memory: the matrices of a model in the order in which kernels read them (docs/packed.md).
//!
//! ```text
//!   model file, mapped ─► matrix after matrix, in the order of use ─► tiles in anonymous memory ─► WeightSource
//!                          its pages are given back once it is packed
//! ```
//! So the weights are in memory once, in huge pages where the system has them.

use crate::ModelFile;
use crate::file::{Anonymous, Mapping};
use picolm_core::kernels::{Layout, TILE_ROWS};
use picolm_core::model::{Model, Weight};
use picolm_core::team::{Strips, Team, for_parts};
use picolm_core::weights::{Joined, Lent, Part, Span, Spans, WeightSource, WeightsError};
use std::collections::HashMap;
use std::io;
use std::ops::Range;
use std::sync::Arc;

/// Rows that one part of the work packs: whole tiles.
const ROWS: usize = 4 * TILE_ROWS;

/// Where matrices begin: at a cache line.
const LINE: usize = 64;

/// The weights of a model, packed.
#[derive(Debug)]
pub struct Packed {
    file: Arc<Joined<Mapping>>,
    /// Where in `tiles` the matrix of a span is.
    places: HashMap<Span, Range<usize>>,
    tiles: Anonymous,
}

/// Why weights were not packed.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// There is not as much memory.
    #[error("no memory for {bytes} bytes of packed weights (--pack off reads them from the file): {cause}")]
    Memory {
        /// Bytes asked for.
        bytes: usize,
        /// The system's words.
        cause: io::Error,
    },
    /// They cannot be read.
    #[error("{part} cannot be read: {cause}")]
    Weights {
        /// Where the matrix belongs.
        part: Part,
        /// The source's words.
        cause: WeightsError,
    },
}

impl Packed {
    /// Packs the matrices of `model`, which was loaded from `file`, with all of the team, and gives the file's pages back.
    ///
    /// # Errors
    /// No memory, or weights that cannot be read.
    pub fn new(model: &Model, file: &ModelFile, team: &dyn Team) -> Result<Self, Error> {
        let mut places = HashMap::new();
        let mut matrices = Vec::new();
        let mut bytes = 0usize;
        for (part, matrix) in model.matrices() {
            let len = matrix.format.packed_bytes(matrix.rows, matrix.cols);
            // One matrix may have two uses: the embedding and the output.
            places.entry(matrix.span).or_insert_with(|| {
                let place = bytes..bytes.saturating_add(len);
                bytes = place.end.saturating_add(LINE - 1) / LINE * LINE;
                matrices.push((part, matrix, place.clone()));
                place
            });
        }
        let mut tiles = Anonymous::new(bytes).map_err(|cause| Error::Memory { bytes, cause })?;
        for (part, matrix, place) in matrices {
            let failed = |cause| Error::Weights { part, cause };
            let lent = model.lend(part).map_err(failed)?;
            pack(&matrix, lent.bytes(matrix.span).map_err(failed)?, &mut tiles.as_mut()[place], team);
            file.give_back(matrix.span);
        }
        Ok(Packed { file: file.source(), places, tiles })
    }

    /// Bytes of memory that they take.
    pub fn memory_bytes(&self) -> usize {
        self.tiles.as_ref().len()
    }
}

fn pack(matrix: &Weight, rows: &[u8], tiles: &mut [u8], team: &dyn Team) {
    let (format, cols) = (matrix.format, matrix.cols);
    let (row_bytes, part) = (format.row_bytes(cols), format.packed_bytes(ROWS, cols));
    for_parts(team, Strips::new(tiles, part, matrix.rows.div_ceil(ROWS)), |i, tiles| {
        let rows = &rows[i * ROWS * row_bytes..];
        format.pack(cols, &rows[..rows.len().min(ROWS * row_bytes)], tiles);
    });
}

impl Spans for Packed {
    fn bytes(&self, span: Span) -> Option<&[u8]> {
        Some(&self.tiles.as_ref()[self.places.get(&span)?.clone()])
    }

    fn layout(&self) -> Layout {
        Layout::Tiles
    }
}

impl WeightSource for Packed {
    fn len(&self) -> u64 {
        self.file.len()
    }

    /// Of the file: what is read when a model is loaded is not packed.
    fn read(&self, offset: u64, into: &mut [u8]) -> Result<(), WeightsError> {
        self.file.read(offset, into)
    }

    fn lend(&self, _: Part) -> Result<Lent<'_>, WeightsError> {
        Ok(Lent::InPlace(self))
    }
}
