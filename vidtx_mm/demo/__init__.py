"""The demonstration's data and pictures. Needs numpy, OpenCV and matplotlib only; no model part imports it."""
