//! Encodes and decodes values at the perimeter.
