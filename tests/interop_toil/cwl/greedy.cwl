# A tool that asks for more than any machine has.
cwlVersion: v1.2
class: CommandLineTool
baseCommand: "true"
requirements:
  ResourceRequirement:
    coresMin: 5000
inputs: []
outputs: []
