SELECT crystal.i_images.imagename
FROM crystal.i_images
WHERE crystal.i_images.inspectid = :inspectid_1 ORDER BY crystal.i_images.imagename;

