"""Meters for the shipped voice: a recogniser's word errors, resynthesis distances, a no-reference quality score."""
