SELECT max(crystal.i_inspections.inspectid) AS max_1
FROM crystal.i_inspections
WHERE crystal.i_inspections.inspectid <= 9223372036854775807;

