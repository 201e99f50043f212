SELECT crystal.i_inspections.inspectid, crystal.i_inspections.barcodeid, crystal.i_inspections.col, crystal.i_inspections.i_row, crystal.i_inspections.subwell, crystal.i_inspections.barcodeid AS as_it_stands
FROM crystal.i_inspections
WHERE crystal.i_inspections.inspectid IN (:inspectid_1_1, :inspectid_1_2);

SELECT crystal.i_inspections.barcodeid, crystal.i_inspections.col, crystal.i_inspections.i_row, crystal.i_inspections.subwell, crystal.i_scores.scoreid, crystal.i_scores.inspectid, crystal.i_scores.score, crystal.i_scores.scoredate, crystal.i_scores.scoredby, crystal.i_scores.imagename
FROM crystal.i_inspections JOIN crystal.i_scores ON crystal.i_scores.inspectid = crystal.i_inspections.inspectid
WHERE crystal.i_inspections.barcodeid IN (:barcodeid_1_1) AND crystal.i_inspections.col IN (:col_1_1, :col_1_2) AND crystal.i_inspections.i_row IN (:i_row_1_1) ORDER BY crystal.i_scores.scoredate, crystal.i_scores.scoreid;

