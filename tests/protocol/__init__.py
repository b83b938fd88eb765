"""What ``protocol`` decides, module by module.

``captured`` holds frames of a real taskflow flow, ``arbitrary`` generates what peers may send.
"""
